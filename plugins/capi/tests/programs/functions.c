/* Functions of C's that queries call: what they may give, what is refused of it, and when they end. */
#define _POSIX_C_SOURCE 200809L
#include "batch.h"

#include <pthread.h>
#include <time.h>

enum { ROWS = 1000, THREADS = 4, BATCHES = 50 };

/* What a function does with its arguments. */
enum deed {
    TWICE,    /* twice the number, null where it is null; an error where it is 900 */
    TAKE,     /* the argument itself, moved out */
    NOTHING,  /* no result */
    SHORT,    /* a row too few */
    BUFFERS,  /* a buffer too few */
    NULLS,    /* a wrong count of nulls */
    WRONG,    /* a text that is no UTF-8 */
    BEYOND,   /* offsets that are not in order */
    SILENT,   /* an error without words, and with a result */
    LONG      /* an error of more words than there is room for */
};

struct state {
    enum deed deed;
    int calls, released;
};

static void release_result(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_buffers; i++)
        free((void *)array->buffers[i]);
    free(array->buffers);
    array->release = NULL;
}

static void give(struct ArrowArray *result, int64_t rows, int buffers)
{
    memset(result, 0, sizeof *result);
    result->length = rows;
    result->n_buffers = buffers;
    result->buffers = must_have(calloc(buffers, sizeof(void *)));
    result->release = release_result;
}

static int is_null(const struct ArrowArray *array, int64_t row)
{
    const uint8_t *bits = array->buffers[0];
    row += array->offset;
    return bits != NULL && (bits[row / 8] >> row % 8 & 1) == 0;
}

static int call(void *user, const struct ArrowSchema *types, struct ArrowArray *arguments, size_t count,
                int64_t rows, struct ArrowArray *result, struct unlade_function_failure *failure)
{
    struct state *state = user;
    __atomic_add_fetch(&state->calls, 1, __ATOMIC_RELAXED);
    EXPECT(count == 1 && types->n_children == 1);
    EXPECT(arguments[0].length == rows && arguments[0].release != NULL);
    EXPECT(result->release == NULL && failure->row == -1 && failure->message[0] == 0);
    switch (state->deed) {
    case TWICE: {
        EXPECT(strcmp(types->children[0]->format, "l") == 0);
        const int64_t *numbers = (const int64_t *)arguments[0].buffers[1] + arguments[0].offset;
        give(result, rows, 2);
        uint8_t *valid = must_have(calloc(rows / 8 + 1, 1));
        int64_t *doubled = must_have(calloc(rows + 1, sizeof *doubled));
        result->buffers[0] = valid;
        result->buffers[1] = doubled;
        result->null_count = -1;
        for (int64_t row = 0; row < rows; row++) {
            if (is_null(&arguments[0], row))
                continue;
            if (numbers[row] == 900) {
                failure->row = row;
                strcpy(failure->message, "900 is too much");
                return 7;
            }
            valid[row / 8] |= 1 << row % 8;
            doubled[row] = 2 * numbers[row];
        }
        return 0;
    }
    case TAKE:
        *result = arguments[0];
        arguments[0].release = NULL;
        return 0;
    case NOTHING:
        return 0;
    case SHORT:
        give(result, rows - 1, 2);
        result->buffers[1] = must_have(calloc(rows, sizeof(int64_t)));
        return 0;
    case BUFFERS:
        give(result, rows, 1);
        return 0;
    case NULLS:
        give(result, rows, 2);
        result->buffers[0] = must_have(calloc(rows / 8 + 1, 1));
        result->buffers[1] = must_have(calloc(rows, sizeof(int64_t)));
        result->null_count = 1;
        return 0;
    case WRONG:
    case BEYOND: {
        give(result, rows, 3);
        int32_t *offsets = must_have(calloc(rows + 1, sizeof *offsets));
        char *bytes = must_have(calloc(rows + 1, 1));
        for (int64_t row = 0; row <= rows; row++)
            offsets[row] = (int32_t)row;
        memset(bytes, 'a', rows);
        if (state->deed == WRONG)
            bytes[rows / 2] = (char)0xff;
        else
            offsets[rows / 2] = (int32_t)rows;
        result->buffers[1] = offsets;
        result->buffers[2] = bytes;
        return 0;
    }
    case SILENT:
        give(result, rows, 1);
        failure->row = rows;
        return -1;
    case LONG:
        memset(failure->message, 'x', sizeof failure->message);
        return 1;
    }
    return 1;
}

static void release(void *user)
{
    __atomic_add_fetch(&((struct state *)user)->released, 1, __ATOMIC_RELEASE);
}

/* A thread of the runtime may be the last that has it. */
static void wait_for(int *released)
{
    for (int waited = 0; __atomic_load_n(released, __ATOMIC_ACQUIRE) == 0; waited++) {
        EXPECT(waited < 30000);
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

static struct unlade_runtime *runtime;
static struct unlade_kernel *twice;
static struct column numbers_of[2];

static struct unlade_function function_of(const char *name, struct state *state,
                                          const struct ArrowSchema *arguments,
                                          const struct ArrowSchema *result)
{
    struct unlade_function function;
    memset(&function, 0, sizeof function);
    function.struct_size = sizeof function;
    function.name = name;
    function.arguments = arguments;
    function.result = result;
    function.call = call;
    function.user = state;
    function.release = release;
    return function;
}

static struct unlade_kernel *compile(const char *filter, const char *select,
                                     const struct ArrowSchema *schema)
{
    struct unlade_query *query;
    struct unlade_kernel *kernel;
    TRY(unlade_query_text_with(runtime, filter, select, 0, &query, &error));
    TRY(unlade_kernel_compile(runtime, NULL, query, schema, NULL, &kernel, &error));
    unlade_query_free(query);
    return kernel;
}

/* Runs a kernel that fails; how. */
static enum unlade_code fails(struct unlade_kernel *kernel, int64_t rows, int64_t row, const char *said)
{
    struct ArrowArray batch;
    make_batch(&batch, rows, 1, numbers_of, NULL);
    struct unlade_output output = wanting(0);
    struct unlade_error *error;
    enum unlade_code code = unlade_kernel_run(kernel, &batch, NULL, &output, &error);
    EXPECT(code > UNLADE_OK && error != NULL);
    if (strstr(unlade_error_message(error), said) == NULL)
        fprintf(stderr, "%s\n", unlade_error_message(error));
    EXPECT(strstr(unlade_error_message(error), said) != NULL);
    uint64_t found;
    EXPECT(unlade_error_row(error, &found) == (row >= 0));
    EXPECT(row < 0 || found == (uint64_t)row);
    unlade_error_free(error);
    return code;
}

static void *work(void *nothing)
{
    (void)nothing;
    for (int i = 0; i < BATCHES; i++) {
        struct ArrowArray batch;
        make_batch(&batch, 500, 1, numbers_of, NULL);
        struct unlade_output output = wanting(0);
        TRY(unlade_kernel_run(twice, &batch, NULL, &output, &error));
        EXPECT(output.array.length == 250);
        unlade_output_release(&output);
    }
    return NULL;
}

/* Metadata of one key, as the C Data Interface has it; how many bytes that is. */
static size_t write_pair(char *to, const char *key, const char *value)
{
    const char *const texts[] = {key, value};
    const int32_t pairs = 1;
    size_t at = sizeof pairs;
    memcpy(to, &pairs, sizeof pairs);
    for (int i = 0; i < 2; i++) {
        const int32_t length = (int32_t)strlen(texts[i]);
        memcpy(to + at, &length, sizeof length);
        memcpy(to + at + sizeof length, texts[i], (size_t)length);
        at += sizeof length + (size_t)length;
    }
    return at;
}

/* A kernel that calls a function travels as bytes, to who has the function. */
static void as_bytes(void)
{
    struct unlade_query *query, *read;
    struct unlade_error *error;
    uint8_t bytes[512];
    size_t length;
    TRY(unlade_query_text_with(runtime, "twice(n) > 7", NULL, 0, &query, &error));
    TRY(unlade_query_encode(query, bytes, sizeof bytes, &length, &error));
    EXPECT(unlade_query_wire(bytes, length, &read, &error) == UNLADE_EXPRESSION);
    EXPECT(strstr(unlade_error_message(error), "twice(Int64) -> Int64") != NULL);
    unlade_error_free(error);
    TRY(unlade_query_wire_with(runtime, bytes, length, &read, &error));
    unlade_query_free(read);
    unlade_query_free(query);
    EXPECT(unlade_query_text("twice(n) > 7", NULL, 0, &read, NULL) == UNLADE_EXPRESSION);
    EXPECT(unlade_query_text_with(NULL, "n > 7", NULL, 0, &read, NULL) == UNLADE_INVALID_ARGUMENT);
}

/* The program runs on the device that is named; the functions on the CPU. */
int main(int words, char **word)
{
    EXPECT(words == 2);
    static int64_t numbers[ROWS];
    static uint8_t valid[ROWS / 8];
    int nulls = 0;
    for (int row = 0; row < ROWS; row++) {
        numbers[row] = row;
        if (row % 10 != 3)
            valid[row / 8] |= 1 << row % 8;
        else
            nulls++;
    }
    const struct column filled[] = {
        {"n", "l", nulls, 2, {valid, numbers, NULL}, {sizeof valid, sizeof numbers, 0}},
        {"text", "u", 0, 3, {NULL, NULL, NULL}, {0, 0, 0}},
    };
    memcpy(numbers_of, filled, sizeof filled);
    numbers_of[0].null_count = -1;
    struct ArrowSchema schema, both;
    make_schema(&schema, 1, filled);
    make_schema(&both, 2, filled);
    const struct ArrowSchema *number = schema.children[0], *text = both.children[1];
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = options.placement = word[1];
    options.threads = 2;
    TRY(unlade_runtime_open(&options, &runtime, &error));

    /* What is refused was not taken. */
    struct state refused = {TWICE, 0, 0};
    struct unlade_function function = function_of("twice", &refused, &schema, number);
    function.struct_size = 3;
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_INVALID_ARGUMENT);
    function = function_of("abs", &refused, &schema, number);
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_EXPRESSION);
    function = function_of(NULL, &refused, &schema, number);
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_INVALID_ARGUMENT);
    function = function_of("twice", &refused, number, number);
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_MALFORMED);
    function = function_of("twice", &refused, &schema, NULL);
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_INVALID_ARGUMENT);
    function = function_of("twice", &refused, &schema, number);
    function.call = NULL;
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_INVALID_ARGUMENT);
    EXPECT(unlade_function_register(runtime, NULL, NULL) == UNLADE_INVALID_ARGUMENT);

    struct state state = {TWICE, 0, 0};
    function = function_of("twice", &state, &schema, number);
    TRY(unlade_function_register(runtime, &function, &error));
    function = function_of("TWICE", &refused, &schema, number);
    EXPECT(unlade_function_register(runtime, &function, NULL) == UNLADE_EXPRESSION);
    EXPECT(refused.released == 0 && refused.calls == 0);
    as_bytes();

    /* Of rows 0 to 499 those from 250 on, but for the 25 of them that are null. */
    twice = compile("twice(n) >= 500", "n, twice(n) as m", &schema);
    struct ArrowArray batch;
    make_batch(&batch, 500, 1, numbers_of, NULL);
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(twice, &batch, NULL, &output, &error));
    EXPECT(output.array.length == 225);
    const char *json = unlade_receipt_json(output.receipt);
    EXPECT(strstr(json, "\"calls\":[{\"function\":\"twice\",\"rows\":500,") != NULL);
    unlade_output_release(&output);
    unlade_kernel_free(twice);

    /* Also on a row that the filter drops before. */
    twice = compile("n < 250 and twice(n) >= 0", "n", &schema);
    EXPECT(fails(twice, ROWS, 900, "row 900: function `twice` failed: 900 is too much") == UNLADE_DATA);
    unlade_kernel_free(twice);

    const struct {
        enum deed deed;
        int gives_text;
        enum unlade_code code;
        const char *said;
    } cases[] = {
        {NOTHING, 0, UNLADE_MALFORMED, "was released"},
        {SHORT, 0, UNLADE_MALFORMED, "it returned 99 rows for 100"},
        {BUFFERS, 0, UNLADE_MALFORMED, "buffers"},
        {NULLS, 0, UNLADE_MALFORMED, "null"},
        {WRONG, 1, UNLADE_MALFORMED, "broke its promise"},
        {BEYOND, 1, UNLADE_MALFORMED, "broke its promise"},
        {SILENT, 0, UNLADE_DATA, "it returned -1 and no message"},
        {LONG, 0, UNLADE_DATA, "xxxxxxxx"},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    static struct state states[CASES];
    for (int i = 0; i < CASES; i++) {
        char name[8], called[32];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(called, sizeof called, "f%d(n) as x", i);
        states[i].deed = cases[i].deed;
        function = function_of(name, &states[i], &schema, cases[i].gives_text ? text : number);
        TRY(unlade_function_register(runtime, &function, &error));
        struct unlade_kernel *kernel = compile(NULL, called, &schema);
        EXPECT(fails(kernel, 100, -1, cases[i].said) == cases[i].code);
        EXPECT(states[i].calls == 1);
        unlade_kernel_free(kernel);
    }

    /* An argument that is taken over is the result, on the memory where it was, and of the type that the
     * function is registered with. */
    struct state taken = {TAKE, 0, 0};
    char metadata[64];
    struct ArrowSchema marked = *number;
    marked.metadata = metadata;
    const size_t marked_bytes = write_pair(metadata, "ARROW:extension:name", "example.number");
    EXPECT(marked_bytes <= sizeof metadata);
    function = function_of("same", &taken, &schema, &marked);
    TRY(unlade_function_register(runtime, &function, &error));
    struct unlade_kernel *same = compile(NULL, "same(n) as s", &schema);
    int released = 0;
    make_batch(&batch, 100, 1, numbers_of, &released);
    const void *at = batch.children[0]->buffers[1];
    output = wanting(UNLADE_WANT_SCHEMA);
    TRY(unlade_kernel_run(same, &batch, NULL, &output, &error));
    EXPECT(output.array.children[0]->buffers[1] == at && released == 0);
    EXPECT(output.schema.children[0]->metadata != NULL);
    EXPECT(memcmp(output.schema.children[0]->metadata, metadata, marked_bytes) == 0);
    unlade_output_release(&output);
    EXPECT(released == 1);
    unlade_kernel_free(same);

    /* Half of the rows, none of which is null now. */
    memset(valid, 0xff, sizeof valid);
    twice = compile("twice(n) % 4 = 0", "n", &schema);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, work, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);

    /* It ends with the last that may call it. */
    unlade_runtime_free(runtime);
    EXPECT(__atomic_load_n(&state.released, __ATOMIC_ACQUIRE) == 0);
    unlade_kernel_free(twice);
    wait_for(&state.released);
    for (int i = 0; i < CASES; i++)
        wait_for(&states[i].released);
    EXPECT(state.released == 1 && refused.released == 0);
    schema.release(&schema);
    both.release(&both);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
