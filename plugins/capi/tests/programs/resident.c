/* Pinned data: what runs on it, what is told of it, and what of it goes out and comes in again. The words are
 * the device to pin on, and how C Device Data calls it; `sim-gpu` has a driver to ask whether addresses are
 * true. */
#include "pinned.h"

static const char *named;
static ArrowDeviceType type;
static int64_t id;

static void must_be_exported(const struct ArrowDeviceArray *array)
{
    EXPECT(array->device_type == type && array->device_id == id);
    EXPECT(array->sync_event == NULL && array->array.release != NULL);
    EXPECT(array->array.length == ROWS && array->array.offset == 0);
}

static void runs(const struct unlade_runtime *runtime, const struct unlade_kernel *kernel,
                 const struct unlade_kernel *narrow, int64_t rows, int64_t wanted)
{
    struct source source;
    struct unlade_resident *resident = pinned(runtime, named, 3, &source);
    struct unlade_resident_status status = status_of(resident);
    EXPECT(strcmp(status.device, named) == 0 && status.rows == BATCHES * ROWS);
    EXPECT(status.batches == BATCHES && status.batches_on_device == BATCHES);
    EXPECT(status.bytes_on_device >= BATCHES * sizeof numbers && status.bytes_copied == 0);
    struct ArrowSchema schema;
    TRY(unlade_resident_schema(resident, &schema, &error));
    EXPECT(schema.n_children == 3 && strcmp(schema.children[1]->name, "flag") == 0);
    schema.release(&schema);

    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    for (size_t batch = 0; batch < BATCHES; batch++) {
        TRY(unlade_kernel_run_resident(kernel, resident, batch, &output, &error));
        must_be_there(&output, &output.array, named, ROWS, rows, wanted);
        unlade_output_release(&output);
    }
    struct unlade_error *error;
    enum unlade_code code = unlade_kernel_run_resident(kernel, resident, BATCHES, &output, &error);
    must_say(code, UNLADE_INVALID_ARGUMENT, error, "no batch 3 of 3");
    code = unlade_kernel_run_resident(narrow, resident, 0, &output, &error);
    must_say(code, UNLADE_SCHEMA, error, "columns");
    EXPECT(output.array.release == NULL);

    struct ArrowDeviceArray array;
    code = unlade_resident_export_column(resident, 0, 3, &array, &error);
    must_say(code, UNLADE_INVALID_ARGUMENT, error, "no column 3 of 3");
    EXPECT(array.array.release == NULL && array.device_type == ARROW_DEVICE_CPU);
    code = unlade_resident_export_column(resident, BATCHES, 0, &array, &error);
    must_say(code, UNLADE_INVALID_ARGUMENT, error, "no batch 3 of 3");

    /* The column stays when the handle does not; what the host has goes then. */
    struct ArrowDeviceArray n, flag;
    TRY(unlade_resident_export_column(resident, 1, 0, &n, &error));
    TRY(unlade_resident_export_column(resident, 1, 1, &flag, &error));
    EXPECT(source.arrays_released == 0);
    EXPECT(unlade_resident_free(resident) == UNLADE_OK);
    EXPECT(source.arrays_released == BATCHES);
    EXPECT(unlade_kernel_run_resident(kernel, resident, 0, &output, NULL) == UNLADE_INVALID_HANDLE);
    must_be_exported(&n);
    must_be_exported(&flag);
    EXPECT(n.array.n_buffers == 2 && n.array.null_count == nulls && flag.array.null_count == 0);
    must_lead_to(&n.array, &columns[0]);
    must_lead_to(&flag.array, &columns[1]);
    /* A column is no batch. */
    code = unlade_kernel_run_device(kernel, &n, NULL, &array, &output, &error);
    EXPECT(code != UNLADE_OK && n.array.release == NULL && array.array.release == NULL);
    unlade_error_free(error);
    flag.array.release(&flag.array);
}

static void goes_out_and_in(const struct unlade_runtime *runtime, const struct unlade_kernel *kernel,
                            const struct unlade_kernel *of_another, int64_t rows, int64_t wanted)
{
    struct source source;
    struct unlade_resident *resident = pinned(runtime, named, 2, &source);
    struct ArrowSchema schema, other;
    TRY(unlade_resident_schema(resident, &schema, &error));
    make_schema(&other, 3, columns);

    struct ArrowDeviceArray array, again, result;
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    struct unlade_error *error;
    enum unlade_code code;
    for (int i = 0; i < 2; i++) {
        TRY(unlade_resident_export(resident, 2, &array, &error));
        must_be_exported(&array);
        EXPECT(array.array.n_children == 2 && array.array.null_count == 0);
        for (int j = 0; j < 2; j++)
            must_lead_to(array.array.children[j], &columns[j]);
        TRY(unlade_kernel_run_device(kernel, &array, i == 0 ? NULL : &schema, &result, &output, &error));
        EXPECT(array.array.release == NULL && result.device_type == ARROW_DEVICE_CPU);
        must_be_there(&output, &result.array, named, ROWS, rows, wanted);
        result.array.release(&result.array);
        unlade_output_release(&output);
    }
    /* It is where it was, and both of it are one. */
    TRY(unlade_resident_export(resident, 2, &array, &error));
    TRY(unlade_resident_export(resident, 2, &again, &error));
    for (int j = 0; j < 2; j++)
        EXPECT(array.array.children[j]->buffers[1] == again.array.children[j]->buffers[1]);
    again.array.release(&again.array);

    code = unlade_kernel_run_device(kernel, &array, &other, &result, &output, &error);
    must_say(code, UNLADE_SCHEMA, error, "was pinned with columns of");
    EXPECT(array.array.release == NULL && result.array.release == NULL);

    /* With the handle freed, and then the exported array outlives its parts and runs nevertheless. */
    TRY(unlade_resident_export(resident, 0, &array, &error));
    TRY(unlade_resident_export(resident, 1, &again, &error));
    EXPECT(unlade_resident_free(resident) == UNLADE_OK);
    EXPECT(source.arrays_released == 0);
    TRY(unlade_kernel_run_device(kernel, &array, NULL, &result, &output, &error));
    must_be_there(&output, &result.array, named, ROWS, rows, wanted);
    result.array.release(&result.array);
    unlade_output_release(&output);
    EXPECT(source.arrays_released == 0);
    struct ArrowArray moved = *again.array.children[0];
    again.array.children[0]->release = NULL;
    again.array.release(&again.array);
    must_lead_to(&moved, &columns[0]);
    moved.release(&moved);
    EXPECT(source.arrays_released == BATCHES);

    /* A kernel of another runtime copies from a GPU, where it has that, and else is told. */
    resident = pinned(runtime, named, 2, &source);
    TRY(unlade_resident_export(resident, 0, &array, &error));
    code = unlade_kernel_run_device(of_another, &array, NULL, &result, &output, &error);
    if (type == ARROW_DEVICE_CUDA) {
        EXPECT(code == UNLADE_OK && result.array.length == rows && sum(&result.array) == wanted);
        EXPECT(output.bytes_copied >= sizeof numbers);
        result.array.release(&result.array);
        unlade_output_release(&output);
    } else {
        must_say(code, UNLADE_UNSUPPORTED, error, "unlade_resident_export");
    }
    EXPECT(array.array.release == NULL);
    code = unlade_kernel_run_resident(of_another, resident, 0, &output, &error);
    must_say(code, UNLADE_CONFIG, error, "by another runtime");

    /* One that was changed is another one: a GPU's is copied, with the rows that it says. */
    TRY(unlade_resident_export(resident, 0, &array, &error));
    array.array.length = 500;
    array.array.offset = 1;
    code = unlade_kernel_run_device(kernel, &array, NULL, &result, &output, &error);
    if (type == ARROW_DEVICE_CUDA) {
        EXPECT(code == UNLADE_OK && result.array.length < rows && output.bytes_copied > 0);
        result.array.release(&result.array);
        unlade_output_release(&output);
    } else {
        must_say(code, UNLADE_UNSUPPORTED, error, "unlade_resident_export");
    }
    /* So is one of the host's that is said to be there. */
    memset(&array, 0, sizeof array);
    int released = 0;
    make_batch(&array.array, ROWS, 2, columns, &released);
    array.device_type = type;
    array.device_id = id;
    code = unlade_kernel_run_device(kernel, &array, NULL, &result, &output, &error);
    EXPECT(code == (type == ARROW_DEVICE_CUDA ? UNLADE_MALFORMED : UNLADE_UNSUPPORTED) && released == 1);
    unlade_error_free(error);
    unlade_resident_free(resident);
    EXPECT(source.arrays_released == BATCHES);
    schema.release(&schema);
    other.release(&other);
}

static void is_refused(const struct unlade_runtime *runtime, const struct unlade_kernel *kernel, int64_t rows,
                       int64_t wanted)
{
    struct source source;
    struct unlade_resident *resident;
    struct unlade_error *error;
    stream_of(&source, 2);
    enum unlade_code code = pin(runtime, "cuda:7", &source, &resident, &error);
    must_say(code, UNLADE_CONFIG, error, "there is no device `cuda:7`");
    EXPECT(resident == NULL && source.arrays_released == BATCHES);
    stream_of(&source, 2);
    source.fails_at = 1;
    code = pin(runtime, named, &source, &resident, &error);
    must_say(code, UNLADE_INPUT, error, "the disk is on fire");
    EXPECT(resident == NULL && source.arrays_released == 1);

    struct ArrowArrayStream input = stream_of(&source, 2);
    struct unlade_pin_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.check = 9;
    code = unlade_runtime_pin(runtime, &input, &options, &resident, &error);
    must_say(code, UNLADE_INVALID_ARGUMENT, error, "`check` of unlade_pin_options is 9");
    EXPECT(source.released == 1 && source.given == 0);
    input = stream_of(&source, 2);
    EXPECT(unlade_runtime_pin(runtime, &input, NULL, NULL, NULL) == UNLADE_INVALID_ARGUMENT);
    EXPECT(source.released == 1);
    EXPECT(unlade_runtime_pin(runtime, NULL, NULL, &resident, NULL) == UNLADE_INVALID_ARGUMENT);

    /* On the host there is nothing to send, nor to export. */
    resident = pinned(runtime, "cpu", 2, &source);
    struct unlade_resident_status status = status_of(resident);
    EXPECT(status.device == NULL && status.batches == BATCHES && status.batches_on_device == 0);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run_resident(kernel, resident, 0, &output, &error));
    EXPECT(output.array.length == rows && sum(&output.array) == wanted);
    unlade_output_release(&output);
    struct ArrowDeviceArray array;
    code = unlade_resident_export(resident, 0, &array, &error);
    must_say(code, UNLADE_UNSUPPORTED, error, "lie in the host's memory");
    unlade_resident_free(resident);

    /* The first device that has memory of its own is none that is simulated: without a name it is the host. */
    resident = pinned(runtime, NULL, 2, &source);
    EXPECT(status_of(resident).device == NULL);
    unlade_resident_free(resident);
    EXPECT(unlade_resident_free(NULL) == UNLADE_OK);
    EXPECT(unlade_resident_read(NULL, NULL, NULL) == UNLADE_INVALID_ARGUMENT);
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    named = words[2];
    type = strcmp(words[1], "sim-gpu") == 0 ? ARROW_DEVICE_CUDA : ARROW_DEVICE_EXT_DEV;
    /* The number of the GPU; of others the place behind `cpu`. */
    id = type == ARROW_DEVICE_CUDA ? 0 : 1;
    make_columns();
    struct ArrowSchema two, three;
    make_schema(&two, 2, columns);
    make_schema(&three, 3, columns);
    struct unlade_runtime *runtime = open_on(words[1], 0), *other = open_on(words[1], 0);
    if (type == ARROW_DEVICE_CUDA)
        load_driver();
    const char *filter = "n > 100 and flag", *select = "cast(n as bigint) * 3 as t";
    struct unlade_kernel *of_two = compile(runtime, NULL, &two, filter, select);
    struct unlade_kernel *of_three = compile(runtime, NULL, &three, filter, select);
    struct unlade_kernel *of_another = compile(other, NULL, &two, filter, select);

    int64_t rows = 0, wanted = 0;
    for (int row = 0; row < ROWS; row++)
        if (row % 5 != 0 && row % 3 == 0 && numbers[row] > 100) {
            rows++;
            wanted += 3 * numbers[row];
        }
    runs(runtime, of_three, of_two, rows, wanted);
    goes_out_and_in(runtime, of_two, of_another, rows, wanted);
    is_refused(runtime, of_two, rows, wanted);

    /* What was exported outlives everything. */
    struct source source;
    struct unlade_resident *resident = pinned(runtime, named, 2, &source);
    struct ArrowDeviceArray array, column;
    TRY(unlade_resident_export(resident, 0, &array, &error));
    TRY(unlade_resident_export_column(resident, 1, 0, &column, &error));
    unlade_resident_free(resident);
    unlade_kernel_free(of_two);
    unlade_kernel_free(of_three);
    unlade_kernel_free(of_another);
    unlade_runtime_free(runtime);
    unlade_runtime_free(other);
    must_lead_to(array.array.children[1], &columns[1]);
    EXPECT(source.arrays_released == 0);
    array.array.release(&array.array);
    EXPECT(source.arrays_released == BATCHES);
    must_lead_to(&column.array, &columns[0]);
    column.array.release(&column.array);
    if (context != NULL)
        leave_driver();
    two.release(&two);
    three.release(&three);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
