/* Filters a batch of three rows, and says where that was done.
 *
 *     gcc filter.c $(pkg-config --cflags --libs unlade) -o filter && ./filter
 */
#include "batch.h"

int main(void)
{
    const int32_t ids[] = {1, 5, 9};
    const int32_t offsets[] = {0, 3, 6, 10};
    const char names[] = "annbobcleo";
    const struct column columns[] = {
        {"id", "i", 0, 2, {NULL, ids, NULL}, {0, sizeof ids, 0}},
        {"name", "u", 0, 3, {NULL, offsets, names}, {0, sizeof offsets, sizeof names - 1}},
    };
    struct ArrowSchema schema;
    make_schema(&schema, 2, columns);

    EXPECT(unlade_abi_version() >> 16 == UNLADE_ABI_MAJOR);
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(NULL, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("id > 3", "name, id * 2 as twice", 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    /* Once for each batch, from any thread. The batch is handed over. */
    struct ArrowArray batch;
    make_batch(&batch, 3, 2, columns, NULL);
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));

    const struct ArrowArray *name = output.array.children[0];
    const struct ArrowArray *twice = output.array.children[1];
    for (int64_t row = 0; row < output.array.length; row++) {
        const int32_t *at = (const int32_t *)name->buffers[1] + name->offset + row;
        const char *text = (const char *)name->buffers[2] + at[0];
        int32_t number = ((const int32_t *)twice->buffers[1])[twice->offset + row];
        printf("%.*s %d\n", (int)(at[1] - at[0]), text, number);
    }

    struct unlade_receipt_part_figures part = {.struct_size = sizeof part};
    TRY(unlade_receipt_part(output.receipt, 0, &part, &error));
    printf("%llu rows on %s: %s\n", (unsigned long long)part.rows, part.device, part.reason);

    unlade_output_release(&output);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    return 0;
}
