/* Every device that needs no hardware gives the same result, and the receipt says which one it was.
 * The words are those to run on; the simulated GPU first, since a process has one driver of GPUs. */
#include "batch.h"

enum { ROWS = 5000 };

struct seen {
    int64_t rows;
    int64_t sum;
};

static struct seen on(const char *device, const char *called, const char *path, const char *clock)
{
    static int32_t numbers[ROWS];
    for (int row = 0; row < ROWS; row++)
        numbers[row] = row * 7 % 1000;
    const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = device;
    options.placement = device;
    options.flags = UNLADE_NO_FALLBACK | UNLADE_PREDICTIONS | UNLADE_HOST_CPU;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n > 100 and n < 700", "n, cast(n as bigint) * 3 as t", 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    struct ArrowArray batch;
    make_batch(&batch, ROWS, 1, &column, NULL);
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    struct seen seen = {output.array.length, 0};
    const struct ArrowArray *t = output.array.children[1];
    for (int64_t row = 0; row < output.array.length; row++)
        seen.sum += ((const int64_t *)t->buffers[1])[t->offset + row];

    struct unlade_receipt_figures figures;
    memset(&figures, 0, sizeof figures);
    figures.struct_size = sizeof figures;
    TRY(unlade_receipt_read(output.receipt, &figures, &error));
    EXPECT(figures.parts == 1 && figures.rows_in == ROWS && figures.retries == 0);
    EXPECT(figures.host_cpu_ns != UNLADE_UNKNOWN_TIME && figures.predicted_ns != UNLADE_UNKNOWN_TIME);
    EXPECT(figures.is_reference == (strcmp(called, "cpu") == 0));
    struct unlade_receipt_part_figures part;
    memset(&part, 0, sizeof part);
    part.struct_size = sizeof part;
    TRY(unlade_receipt_part(output.receipt, 0, &part, &error));
    EXPECT(strcmp(part.device, called) == 0);
    EXPECT(strcmp(part.path, path) == 0);
    EXPECT(strcmp(part.clock, clock) == 0);
    EXPECT(part.is_complete == 1 && strcmp(part.reason, "asked for by name") == 0);
    EXPECT(unlade_receipt_part(output.receipt, 1, &part, NULL) == UNLADE_INVALID_ARGUMENT);
    printf("%s: %lld rows, %lld\n", called, (long long)seen.rows, (long long)seen.sum);

    unlade_output_release(&output);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    return seen;
}

int main(int count, char **words)
{
    struct seen cpu = on("cpu", "cpu", "inline", "wall");
    for (int i = 1; i < count; i++) {
        const char *called = strcmp(words[i], "sim-gpu") == 0 ? "sim-gpu:0" : words[i];
        struct seen other = on(words[i], called, "queued", "virtual");
        EXPECT(other.rows == cpu.rows && other.sum == cpu.sum);
    }
    printf("done\n");
    return 0;
}
