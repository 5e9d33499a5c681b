/* What was exported of pinned data while its GPU is short of memory, and while the GPU is lost. The driver is
 * `between.c`, by which the GPU says that it has room for four batches that are pinned. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "pinned.h"

static const char *const gpu = "sim-gpu:0";
static const char *const memory = "524288";
static int64_t rows, wanted;

static struct unlade_kernel *filter_of(const struct unlade_runtime *runtime)
{
    struct ArrowSchema schema;
    make_schema(&schema, 2, columns);
    struct unlade_kernel *kernel = compile(runtime, NULL, &schema, "n > 100 and flag", "cast(n as bigint) * 3 as t");
    schema.release(&schema);
    return kernel;
}

static struct ArrowDeviceArray exported(const struct unlade_resident *resident, size_t batch)
{
    struct ArrowDeviceArray array;
    TRY(unlade_resident_export(resident, batch, &array, &error));
    EXPECT(array.device_type == ARROW_DEVICE_CUDA && array.device_id == 0);
    return array;
}

static void must_be_as_pinned(const struct ArrowDeviceArray *batch)
{
    for (int i = 0; i < 2; i++)
        must_lead_to(batch->array.children[i], &columns[i]);
}

/* What a result came to: its first part, and bytes that were sent for it. */
static struct unlade_receipt_part_figures told(const struct unlade_output *output, uint64_t *sent)
{
    struct unlade_receipt_figures figures;
    memset(&figures, 0, sizeof figures);
    figures.struct_size = sizeof figures;
    TRY(unlade_receipt_read(output->receipt, &figures, &error));
    *sent = figures.bytes_to_device;
    struct unlade_receipt_part_figures part;
    memset(&part, 0, sizeof part);
    part.struct_size = sizeof part;
    TRY(unlade_receipt_part(output->receipt, figures.parts - 1, &part, &error));
    EXPECT(part.is_complete);
    return part;
}

/* Runs on a pinned batch; whether the GPU had it. The result is right wherever. */
static int runs(const struct unlade_kernel *kernel, const struct unlade_resident *resident, size_t batch,
                uint64_t *sent)
{
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run_resident(kernel, resident, batch, &output, &error));
    EXPECT(output.array.length == rows && sum(&output.array) == wanted);
    int had = strcmp(told(&output, sent).device, gpu) == 0;
    unlade_output_release(&output);
    return had;
}

/* The same of one that was exported, which is released by it. */
static int takes(const struct unlade_kernel *kernel, struct ArrowDeviceArray *batch, uint64_t *sent)
{
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    struct ArrowDeviceArray result;
    TRY(unlade_kernel_run_device(kernel, batch, NULL, &result, &output, &error));
    EXPECT(batch->array.release == NULL && result.device_type == ARROW_DEVICE_CPU);
    EXPECT(result.array.length == rows && sum(&result.array) == wanted);
    int had = strcmp(told(&output, sent).device, gpu) == 0;
    result.array.release(&result.array);
    unlade_output_release(&output);
    return had;
}

/* What is held stays where it is and as it is, whatever else wants the room. */
static void short_of_memory(void)
{
    struct unlade_runtime *runtime = open_on("sim-gpu", 0);
    load_driver();
    struct unlade_kernel *kernel = filter_of(runtime);
    struct source first, second;
    struct unlade_resident *ours = pinned(runtime, gpu, 2, &first);
    EXPECT(status_of(ours).batches_on_device == BATCHES);
    struct ArrowDeviceArray batch = exported(ours, 0), column;
    TRY(unlade_resident_export_column(ours, 1, 0, &column, &error));

    struct unlade_resident *others = pinned(runtime, gpu, 2, &second);
    EXPECT(status_of(ours).batches_on_device == 2 && status_of(others).batches_on_device == 2);
    must_be_as_pinned(&batch);
    must_lead_to(&column.array, &columns[0]);

    /* The one that was moved out is sent again, and others have made room. */
    uint64_t sent;
    EXPECT(runs(kernel, ours, 2, &sent) && sent >= sizeof numbers);
    EXPECT(runs(kernel, ours, 2, &sent) && sent == 0);
    EXPECT(status_of(ours).batches_on_device == 3 && status_of(others).batches_on_device == 1);

    /* Once all of the room is held there is none for another to be exported; it is run on all the same. */
    struct ArrowDeviceArray last = exported(ours, 2), one = exported(others, 0), none;
    EXPECT(status_of(ours).batches_on_device == 3 && status_of(others).batches_on_device == 1);
    struct unlade_error *error;
    enum unlade_code code = unlade_resident_export(others, 1, &none, &error);
    must_say(code, UNLADE_UNSUPPORTED, error, "leaves no room for it");
    EXPECT(none.array.release == NULL);
    EXPECT(runs(kernel, others, 1, &sent) && sent > 0);
    must_be_as_pinned(&batch);
    must_be_as_pinned(&last);
    must_be_as_pinned(&one);
    must_lead_to(&column.array, &columns[0]);

    /* What is let go of makes room. */
    last.array.release(&last.array);
    last = exported(others, 1);
    must_be_as_pinned(&last);
    last.array.release(&last.array);
    unlade_resident_free(ours);
    EXPECT(takes(kernel, &batch, &sent) && sent == 0);
    EXPECT(first.arrays_released == BATCHES);
    must_lead_to(&column.array, &columns[0]);
    column.array.release(&column.array);
    unlade_resident_free(others);
    unlade_kernel_free(kernel);
    unlade_runtime_free(runtime);
    EXPECT(second.arrays_released == 0);
    one.array.release(&one.array);
    EXPECT(second.arrays_released == BATCHES);
    leave_driver();
}

/* Somebody else of the process goes beyond what is his, by which the GPU's context is of no use. */
static void spoil(void)
{
    static char there[1 << 16];
    uint64_t small;
    EXPECT(set_current(context) == 0 && allocate(&small, 64) == 0);
    EXPECT(download(there, small, sizeof there) != 0);
}

/* The one runtime that has it brings it back, and what was pinned with it. */
static void is_lost_and_comes_back(void)
{
    struct unlade_runtime *runtime = open_on("sim-gpu", 0);
    load_driver();
    struct unlade_kernel *kernel = filter_of(runtime);
    struct source source;
    struct unlade_resident *resident = pinned(runtime, gpu, 2, &source);
    uint64_t sent;
    EXPECT(runs(kernel, resident, 0, &sent) && sent == 0);
    struct ArrowDeviceArray at_once = exported(resident, 0), later = exported(resident, 0);
    struct ArrowDeviceArray changed = exported(resident, 1), column, result;
    TRY(unlade_resident_export_column(resident, 2, 0, &column, &error));

    spoil();
    /* Addresses are the driver's to refuse, which does: one that was changed is nowhere but there. */
    static char there[sizeof numbers];
    EXPECT(download(there, (uint64_t)(uintptr_t)column.array.buffers[1], sizeof there) != 0);
    changed.array.length = 500;
    struct unlade_output output = wanting(0);
    struct unlade_error *error;
    enum unlade_code code = unlade_kernel_run_device(kernel, &changed, NULL, &result, &output, &error);
    must_say(code, UNLADE_DEVICE_FAULT, error, "CUDA_ERROR_ILLEGAL_ADDRESS");
    EXPECT(changed.array.release == NULL && result.array.release == NULL);

    leave_driver();
    takes(kernel, &at_once, &sent);
    const struct timespec moment = {0, 20000000};
    for (int tries = 0; !runs(kernel, resident, 0, &sent); tries++) {
        EXPECT(tries < 1500);
        nanosleep(&moment, NULL);
    }
    load_driver();
    EXPECT(status_of(resident).batches_on_device >= 1);
    struct ArrowDeviceArray again = exported(resident, 0);
    must_be_as_pinned(&again);
    again.array.release(&again.array);
    /* What was exported before is still known, and run on where the batch lies now. */
    EXPECT(takes(kernel, &later, &sent) && sent == 0);

    column.array.release(&column.array);
    unlade_resident_free(resident);
    unlade_kernel_free(kernel);
    unlade_runtime_free(runtime);
    EXPECT(source.arrays_released == BATCHES);
    leave_driver();
}

/* As long as others hold its context it stays lost. What of the host's is pinned by that stays so for good. */
static void is_lost_for_long(void)
{
    struct unlade_runtime *runtime = open_on("sim-gpu", 0), *strict = open_on("sim-gpu", UNLADE_NO_FALLBACK);
    struct unlade_runtime *elsewhere = open_on("sim-gpu", 0);
    load_driver();
    struct unlade_kernel *kernel = filter_of(runtime), *strictly = filter_of(strict);
    struct source source, of_strict, of_theirs;
    struct unlade_resident *resident = pinned(runtime, gpu, 2, &source);
    struct unlade_resident *kept = pinned(strict, gpu, 2, &of_strict);
    struct unlade_resident *theirs = pinned(elsewhere, gpu, 2, &of_theirs);
    uint64_t sent;
    EXPECT(runs(kernel, resident, 0, &sent) && runs(strictly, kept, 0, &sent));
    struct ArrowDeviceArray batch = exported(resident, 0), by_strict = exported(kept, 0);
    struct ArrowDeviceArray foreign = exported(theirs, 0), column, result, none;
    TRY(unlade_resident_export_column(theirs, 1, 0, &column, &error));
    spoil();

    /* What another runtime had there nobody has any more. Its own has it on the host, and one that may not
     * fall back says so. */
    struct unlade_output output = wanting(0);
    struct unlade_error *error;
    enum unlade_code code = unlade_kernel_run_device(kernel, &foreign, NULL, &result, &output, &error);
    must_say(code, UNLADE_DEVICE_FAULT, error, "CUDA_ERROR_ILLEGAL_ADDRESS");
    EXPECT(foreign.array.release == NULL && result.array.release == NULL);
    EXPECT(!takes(kernel, &batch, &sent) && !runs(kernel, resident, 1, &sent));
    code = unlade_kernel_run_device(strictly, &by_strict, NULL, &result, &output, &error);
    must_say(code, UNLADE_DEVICE_FAULT, error, gpu);
    EXPECT(by_strict.array.release == NULL && result.array.release == NULL);

    EXPECT(status_of(resident).batches_on_device == 0 && status_of(resident).bytes_on_device == 0);
    code = unlade_resident_export(resident, 0, &none, &error);
    must_say(code, UNLADE_DEVICE_FAULT, error, gpu);
    EXPECT(none.array.release == NULL);

    unlade_resident_free(theirs);
    unlade_resident_free(kept);
    unlade_resident_free(resident);
    unlade_kernel_free(strictly);
    unlade_kernel_free(kernel);
    unlade_runtime_free(elsewhere);
    unlade_runtime_free(strict);
    unlade_runtime_free(runtime);
    column.array.release(&column.array);
    EXPECT(source.arrays_released == BATCHES && of_strict.arrays_released == BATCHES);
    EXPECT(of_theirs.arrays_released == BATCHES);
    leave_driver();
}

/* As it brings the result of an exported batch, which is computed elsewhere then. What the GPU may still
 * touch is given up, the exported batch's memory there among it. */
static void is_lost_at_work(void)
{
    struct unlade_runtime *runtime = open_on("sim-gpu", 0);
    void (*fail)(int64_t attribute, int64_t copy);
    find(dlopen(getenv("UNLADE_SIM_GPU_LIBRARY"), RTLD_NOW | RTLD_NOLOAD), "between_fail", &fail);
    struct unlade_kernel *kernel = filter_of(runtime);
    struct source source;
    struct unlade_resident *resident = pinned(runtime, gpu, 2, &source);
    struct ArrowDeviceArray batch = exported(resident, 0), column;
    TRY(unlade_resident_export_column(resident, 0, 0, &column, &error));
    uint64_t sent;
    fail(0, 1);
    EXPECT(!takes(kernel, &batch, &sent));
    fail(0, 0);
    column.array.release(&column.array);
    unlade_resident_free(resident);
    unlade_kernel_free(kernel);
    unlade_runtime_free(runtime);
    EXPECT(source.arrays_released == BATCHES);
}

/* Whether the GPU is lost for long and at work, too. */
int main(int words, char **word)
{
    (void)word;
    make_columns();
    for (int row = 0; row < ROWS; row++)
        if (row % 5 != 0 && row % 3 == 0 && numbers[row] > 100) {
            rows++;
            wanted += 3 * numbers[row];
        }
    EXPECT(setenv("BETWEEN_MEMORY", memory, 1) == 0);
    short_of_memory();
    is_lost_and_comes_back();
    if (words > 1) {
        is_lost_for_long();
        is_lost_at_work();
    }
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
