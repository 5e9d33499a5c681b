/* Streams that C makes: read to their end, failing midway, cancelled, malformed; and what a kernel
 * says of itself. */
#define _POSIX_C_SOURCE 200809L
#include "batch.h"

#include <time.h>

enum { ROWS = 100, BATCHES = 5 };

static int32_t numbers[ROWS];
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};

/* A stream of so many batches, of which one may be wrong: -1 for none. */
struct source {
    int given;
    int fails_at;
    int malformed_at;
    int unaligned;
    int released;
    int arrays_released;
};

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    (void)stream;
    make_schema(out, 1, &column);
    return 0;
}

static void free_unaligned(struct ArrowArray *array)
{
    free((char *)array->buffers[1] - 1);
    array->buffers[1] = NULL;
    release_column(array);
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct source *source = (struct source *)stream->private_data;
    if (source->given == source->fails_at)
        return 5;
    if (source->given == BATCHES) {
        out->release = NULL;
        return 0;
    }
    make_batch(out, ROWS, 1, &column, &source->arrays_released);
    if (source->given == source->malformed_at)
        out->children[0]->null_count = 7;
    if (source->unaligned) {
        char *bytes = (char *)must_have(malloc(sizeof numbers + 1));
        memcpy(bytes + 1, numbers, sizeof numbers);
        free((void *)out->children[0]->buffers[1]);
        out->children[0]->buffers[1] = bytes + 1;
        out->children[0]->release = free_unaligned;
    }
    source->given++;
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "the disk is on fire";
}

static void release_stream(struct ArrowArrayStream *stream)
{
    __atomic_add_fetch(&((struct source *)stream->private_data)->released, 1, __ATOMIC_RELEASE);
    stream->release = NULL;
}

static struct ArrowArrayStream stream_of(struct source *source, int fails_at, int malformed_at)
{
    memset(source, 0, sizeof *source);
    source->fails_at = fails_at;
    source->malformed_at = malformed_at;
    struct ArrowArrayStream stream = {get_schema, get_next, get_last_error, release_stream, source};
    return stream;
}

/* That the stream was released once, and so many arrays, or all that it gave where that is negative, by the runtime's threads as well, which may
 * have one in hand when the stream is freed. */
static void must_be_released(struct source *source, int arrays)
{
    for (int waited = 0;; waited++) {
        int of_streams = __atomic_load_n(&source->released, __ATOMIC_ACQUIRE);
        int of_arrays = __atomic_load_n(&source->arrays_released, __ATOMIC_ACQUIRE);
        /* A stream that was released gives nothing more. */
        int wanted = arrays >= 0 || of_streams == 0 ? arrays : source->given;
        if (of_streams >= 1 && of_arrays >= wanted) {
            EXPECT(of_arrays == wanted && of_streams == 1);
            return;
        }
        EXPECT(waited < 30000);
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

/* Reads to the end, or the first error; how many results there were. */
static int read_all(const struct unlade_stream *stream, enum unlade_code *code, char *message)
{
    for (int results = 0;; results++) {
        struct unlade_output output = wanting(0);
        struct unlade_error *error = NULL;
        *code = unlade_stream_next(stream, &output, &error);
        if (*code != UNLADE_OK) {
            if (error != NULL)
                strncpy(message, unlade_error_message(error), 199);
            unlade_error_free(error);
            EXPECT(output.array.release == NULL);
            /* It has ended. */
            EXPECT(unlade_stream_next(stream, &output, NULL) == UNLADE_END);
            return results;
        }
        EXPECT(output.array.length == ROWS / 2);
        unlade_output_release(&output);
    }
}

static void streams(struct unlade_kernel *kernel)
{
    char message[200] = "";
    enum unlade_code code;
    struct source source;
    struct unlade_stream *stream;

    struct ArrowArrayStream input = stream_of(&source, -1, -1);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    EXPECT(input.release == NULL);
    EXPECT(read_all(stream, &code, message) == BATCHES && code == UNLADE_END);
    EXPECT(unlade_stream_bytes_copied(stream) == 0);
    EXPECT(unlade_stream_free(stream) == UNLADE_OK);
    EXPECT(unlade_stream_bytes_copied(stream) == 0);
    must_be_released(&source, BATCHES);

    input = stream_of(&source, -1, -1);
    source.unaligned = 1;
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    EXPECT(read_all(stream, &code, message) == BATCHES && code == UNLADE_END);
    EXPECT(unlade_stream_bytes_copied(stream) == BATCHES * sizeof numbers);
    unlade_stream_free(stream);
    must_be_released(&source, BATCHES);

    input = stream_of(&source, 2, -1);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    EXPECT(read_all(stream, &code, message) == 2 && code == UNLADE_INPUT);
    EXPECT(strstr(message, "the disk is on fire") != NULL);
    unlade_stream_free(stream);
    must_be_released(&source, 2);

    input = stream_of(&source, -1, 3);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    EXPECT(read_all(stream, &code, message) == 3 && code == UNLADE_INPUT);
    EXPECT(strstr(message, "malformed") != NULL && strstr(message, "null") != NULL);
    unlade_stream_free(stream);
    must_be_released(&source, 4);

    /* Cancelled, freed before its end, handed over with a handle that is none. */
    input = stream_of(&source, -1, -1);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    TRY(unlade_stream_cancel(stream, &error));
    EXPECT(read_all(stream, &code, message) == 0 && code == UNLADE_CANCELLED);
    unlade_stream_free(stream);
    must_be_released(&source, -1);
    input = stream_of(&source, -1, -1);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    struct unlade_output output = wanting(0);
    TRY(unlade_stream_next(stream, &output, &error));
    unlade_stream_free(stream);
    unlade_output_release(&output);
    must_be_released(&source, -1);
    input = stream_of(&source, -1, -1);
    EXPECT(unlade_kernel_stream((const struct unlade_kernel *)&source, &input, &stream, NULL) ==
           UNLADE_INVALID_HANDLE);
    EXPECT(input.release == NULL && source.released == 1 && stream == NULL);

    /* As an Arrow stream: once, with its schema, and the error's words at the end. */
    input = stream_of(&source, 4, -1);
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));
    struct ArrowArrayStream exported, again;
    TRY(unlade_stream_export(stream, &exported, &error));
    EXPECT(unlade_stream_export(stream, &again, NULL) == UNLADE_INVALID_ARGUMENT);
    EXPECT(again.release == NULL);
    EXPECT(unlade_stream_next(stream, &output, NULL) == UNLADE_END);
    unlade_stream_free(stream);
    struct ArrowSchema schema;
    EXPECT(exported.get_schema(&exported, &schema) == 0);
    EXPECT(schema.n_children == 1 && strcmp(schema.children[0]->name, "twice") == 0);
    schema.release(&schema);
    int results = 0;
    for (;; results++) {
        struct ArrowArray batch;
        if (exported.get_next(&exported, &batch) != 0)
            break;
        EXPECT(batch.release != NULL && batch.length == ROWS / 2);
        batch.release(&batch);
    }
    EXPECT(results == 4);
    EXPECT(strstr(exported.get_last_error(&exported), "the disk is on fire") != NULL);
    exported.release(&exported);
    must_be_released(&source, 4);
}

static void tells(struct unlade_kernel *kernel)
{
    struct ArrowSchema schema;
    TRY(unlade_kernel_schema(kernel, &schema, &error));
    EXPECT(schema.n_children == 1 && strcmp(schema.children[0]->format, "i") == 0);
    schema.release(&schema);
    char *text;
    TRY(unlade_kernel_explain(kernel, &text, &error));
    EXPECT(strstr(text, "cpu") != NULL);
    unlade_string_free(text);
    TRY(unlade_kernel_explain_json(kernel, &text, &error));
    EXPECT(text[0] == '{' && strstr(text, "\"parts\"") != NULL);
    unlade_string_free(text);
}

int main(void)
{
    for (int row = 0; row < ROWS; row++)
        numbers[row] = row;
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu";
    options.threads = 3;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n < 50", "n * 2 as twice", 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
    streams(kernel);
    tells(kernel);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
