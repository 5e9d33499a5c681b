/* Batches in the memory of a GPU are taken by a runtime that has it, and others refused. The GPU is the
 * simulated one, whose driver has CUDA's functions. */
#include "on_gpu.h"

enum { ROWS = 1000, SKIPPED = 7, USED = 900 };

static int32_t numbers[ROWS];
static uint8_t valid[(ROWS + 7) / 8];
static int32_t offsets[ROWS + 1];
static char letters[4 * ROWS];
static struct column columns[] = {
    {"n", "i", -1, 2, {valid, numbers, NULL}, {sizeof valid, sizeof numbers, 0}},
    {"s", "u", 0, 3, {NULL, offsets, letters}, {0, sizeof offsets, 0}},
};

static void make_columns(void)
{
    for (int row = 0; row < ROWS; row++) {
        numbers[row] = row * 7 % 1000;
        if (row % 5 != 0)
            valid[row / 8] |= (uint8_t)(1 << row % 8);
        int length = row % 4;
        for (int i = 0; i < length; i++)
            letters[offsets[row] + i] = (char)('a' + row % 26);
        offsets[row + 1] = offsets[row] + length;
    }
    columns[1].sizes[2] = (size_t)offsets[ROWS];
}

static void make(struct ArrowArray *batch, int *released)
{
    make_batch(batch, ROWS, 2, columns, released);
    batch->length = USED;
    batch->offset = SKIPPED;
}

/* The numbers that a result has, and how many letters. */
static int64_t sum(const struct ArrowArray *result)
{
    const struct ArrowArray *t = result->children[0], *s = result->children[1];
    int64_t sum = 0;
    for (int64_t row = 0; row < result->length; row++) {
        const int32_t *ends = (const int32_t *)s->buffers[1] + s->offset + row;
        sum += ((const int64_t *)t->buffers[1])[t->offset + row] + ends[1] - ends[0];
        for (int32_t at = ends[0]; at < ends[1]; at++)
            sum += ((const char *)s->buffers[2])[at];
    }
    return sum;
}

static struct unlade_kernel *kernel_on(const char *devices, struct unlade_runtime **runtime,
                                       const struct ArrowSchema *schema)
{
    open_runtime(devices, 0, runtime);
    return compile(*runtime, NULL, schema, "n > 100 and n < 700", "cast(n as bigint) * 3 as t, s");
}

/* What becomes of a batch on the GPU; its message, where it is refused. */
static enum unlade_code run(const struct unlade_kernel *kernel, struct ArrowDeviceArray *batch,
                            int64_t wanted, const char *said)
{
    struct ArrowDeviceArray result;
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    struct unlade_error *error = NULL;
    enum unlade_code code = unlade_kernel_run_device(kernel, batch, NULL, &result, &output, &error);
    EXPECT(batch->array.release == NULL && result.device_type == ARROW_DEVICE_CPU);
    if (code == UNLADE_OK) {
        EXPECT(sum(&result.array) == wanted);
        EXPECT(output.bytes_copied > sizeof numbers);
        /* That it was brought to the host is told. */
        struct unlade_receipt_figures figures;
        memset(&figures, 0, sizeof figures);
        figures.struct_size = sizeof figures;
        TRY(unlade_receipt_read(output.receipt, &figures, &error));
        EXPECT(figures.bytes_from_device > sizeof numbers && figures.taken_ns > 0);
        result.array.release(&result.array);
    } else {
        EXPECT(result.array.release == NULL);
        EXPECT(strstr(unlade_error_message(error), said) != NULL);
    }
    unlade_output_release(&output);
    unlade_error_free(error);
    return code;
}

static void make_on_gpu(struct ArrowDeviceArray *batch, ArrowDeviceType type, int *released)
{
    memset(batch, 0, sizeof *batch);
    make(&batch->array, released);
    move_to_gpu(&batch->array, columns);
    batch->device_type = type;
}

int main(void)
{
    make_columns();
    struct ArrowSchema schema;
    make_schema(&schema, 2, columns);
    struct unlade_runtime *runtime, *other;
    struct unlade_kernel *kernel = kernel_on("cpu,sim-gpu", &runtime, &schema);
    struct unlade_kernel *elsewhere = kernel_on("cpu", &other, &schema);
    load_driver();

    struct ArrowArray host;
    make(&host, NULL);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run(kernel, &host, NULL, &output, &error));
    EXPECT(output.array.length > 100);
    int64_t wanted = sum(&output.array);
    unlade_output_release(&output);

    void *event;
    EXPECT(create_event(&event, 0) == 0 && record_event(event, NULL) == 0);
    struct ArrowDeviceArray batch;
    int released = 0, made = 0;
    const ArrowDeviceType types[] = {ARROW_DEVICE_CUDA, ARROW_DEVICE_CUDA_MANAGED};
    for (int i = 0; i < 4; i++) {
        make_on_gpu(&batch, types[i % 2], &released);
        batch.sync_event = i < 2 ? NULL : &event;
        EXPECT(run(kernel, &batch, wanted, NULL) == UNLADE_OK);
        EXPECT(released == ++made);
    }

    /* A runtime without the GPU, and a GPU that is not there. */
    make_on_gpu(&batch, ARROW_DEVICE_CUDA, &released);
    EXPECT(run(elsewhere, &batch, 0, "`cuda:0` among its devices") == UNLADE_UNSUPPORTED);
    EXPECT(released == ++made);
    make_on_gpu(&batch, ARROW_DEVICE_CUDA, &released);
    batch.device_id = 1;
    EXPECT(run(kernel, &batch, 0, "CUDA device 1") == UNLADE_UNSUPPORTED);
    EXPECT(released == ++made);
    /* Memory of the host's that is said to be the GPU's. */
    memset(&batch, 0, sizeof batch);
    make(&batch.array, &released);
    batch.device_type = ARROW_DEVICE_CUDA;
    EXPECT(run(kernel, &batch, 0, "no address of CUDA's") == UNLADE_MALFORMED);
    EXPECT(released == ++made);
    /* More rows than there are, of numbers and then of offsets. */
    for (int i = 0; i < 2; i++) {
        make_on_gpu(&batch, ARROW_DEVICE_CUDA, &released);
        batch.array.children[i]->length += 1;
        batch.array.children[i]->offset = 2 * ROWS;
        EXPECT(run(kernel, &batch, 0, "where there are") == UNLADE_MALFORMED);
        EXPECT(released == ++made);
    }
    /* Offsets that go beyond the letters, and back. */
    const int32_t ends[] = {offsets[ROWS] + 1, -1};
    const char *const said[] = {"where there are", "ends at -1"};
    for (int i = 0; i < 2; i++) {
        make_on_gpu(&batch, ARROW_DEVICE_CUDA, &released);
        uint64_t last = (uint64_t)(uintptr_t)batch.array.children[1]->buffers[1] + ROWS * sizeof *ends;
        EXPECT(upload(last, &ends[i], sizeof *ends) == 0);
        EXPECT(run(kernel, &batch, 0, said[i]) == UNLADE_MALFORMED);
        EXPECT(released == ++made);
    }

    EXPECT(destroy_event(event) == 0);
    unlade_kernel_free(elsewhere);
    unlade_runtime_free(other);
    unlade_kernel_free(kernel);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
