/* Streams Parquet files through a kernel, and adds up what comes out.
 *
 *     gcc parquet_stream.c $(pkg-config --cflags --libs unlade) -o parquet_stream
 *     ./parquet_stream 'quantity < 5' quantity lineitem.parquet ...
 *
 * The column is an integer of 32 bits. The same is done twice: result by result, with receipts, and as
 * an Arrow stream, which any other library could read.
 */
#include "batch.h"

struct sum {
    long long rows;
    long long values;
};

static void add(struct sum *sum, const struct ArrowArray *batch)
{
    const struct ArrowArray *column = batch->children[0];
    const int32_t *values = (const int32_t *)column->buffers[1] + column->offset;
    const unsigned char *valid = (const unsigned char *)column->buffers[0];
    for (int64_t row = 0; row < batch->length; row++) {
        int64_t bit = column->offset + row;
        if (column->null_count == 0 || valid == NULL || (valid[bit / 8] >> bit % 8 & 1))
            sum->values += values[row];
    }
    sum->rows += batch->length;
}

static struct unlade_stream *open_files(struct unlade_runtime *runtime, const char *filter,
                                        const char *select, int files, char **file)
{
    struct ArrowArrayStream input;
    TRY(unlade_scan_open((const char *const *)file, files, NULL, &input, &error));
    struct ArrowSchema schema;
    EXPECT(input.get_schema(&input, &schema) == 0);

    struct unlade_query *query;
    TRY(unlade_query_text(filter, select, 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
    struct unlade_stream *stream;
    TRY(unlade_kernel_stream(kernel, &input, &stream, &error));

    /* The stream keeps what it needs. */
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    schema.release(&schema);
    return stream;
}

int main(int count, char **words)
{
    if (count < 4) {
        fprintf(stderr, "usage: %s FILTER COLUMN FILE...\n", words[0]);
        return 2;
    }
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 2;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));

    struct unlade_stream *stream = open_files(runtime, words[1], words[2], count - 3, words + 3);
    struct sum sum = {0, 0};
    unsigned long long handed_over = 0;
    for (;;) {
        struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
        enum unlade_code ended;
        TRY(ended = unlade_stream_next(stream, &output, &error));
        if (ended == UNLADE_END)
            break;
        add(&sum, &output.array);
        struct unlade_receipt_figures figures = {.struct_size = sizeof figures};
        TRY(unlade_receipt_read(output.receipt, &figures, &error));
        handed_over += figures.rows_in;
        unlade_output_release(&output);
    }
    unlade_stream_free(stream);

    stream = open_files(runtime, words[1], words[2], count - 3, words + 3);
    struct ArrowArrayStream exported;
    TRY(unlade_stream_export(stream, &exported, &error));
    unlade_stream_free(stream);
    struct sum again = {0, 0};
    for (;;) {
        struct ArrowArray batch;
        if (exported.get_next(&exported, &batch) != 0) {
            fprintf(stderr, "%s\n", exported.get_last_error(&exported));
            return 1;
        }
        if (batch.release == NULL)
            break;
        add(&again, &batch);
        batch.release(&batch);
    }
    exported.release(&exported);
    unlade_runtime_free(runtime);

    EXPECT(again.rows == sum.rows && again.values == sum.values);
    printf("%lld of %llu rows, together %lld\n", sum.rows, handed_over, sum.values);
    return 0;
}
