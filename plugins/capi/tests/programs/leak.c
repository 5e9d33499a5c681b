/* Does not release a result, by which a test sees that leaks are found. */
#include "batch.h"

int main(void)
{
    const int32_t numbers[] = {1, 2, 3};
    const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(NULL, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n > 1", NULL, 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
    struct ArrowArray batch;
    make_batch(&batch, 3, 1, &column, NULL);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    EXPECT(output.array.length == 2);
    memset(&output, 0, sizeof output);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    printf("done\n");
    return 0;
}
