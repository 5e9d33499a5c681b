/* What goes wrong while batches in the memory of a GPU are brought to the host: an event is late or never
 * reached, nobody wants the result any more, the GPU is lost; and a batch of more buffers than one list of
 * commands has room for. The driver is `between.c`. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>

#include "on_gpu.h"

enum { ROWS = 1000, COLUMNS = 35000, PATIENCE_MS = 2000 };

static void (*hold)(void *event);
static uint64_t (*asked)(void);
static void (*fail)(int64_t attribute, int64_t copy);

static int32_t numbers[ROWS];
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
static int released, made;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * INT64_C(1000000)};
    nanosleep(&time, NULL);
}

/* Runs a batch on the GPU, which is released, however that ends but for a GPU that is lost. */
static enum unlade_code run(const struct unlade_kernel *kernel, void *event, const char *said)
{
    struct ArrowDeviceArray batch, result;
    memset(&batch, 0, sizeof batch);
    make_batch(&batch.array, ROWS, 1, &column, &released);
    move_to_gpu(&batch.array, &column);
    batch.device_type = ARROW_DEVICE_CUDA;
    batch.sync_event = event == NULL ? NULL : &event;
    struct unlade_output output = wanting(0);
    struct unlade_error *error = NULL;
    enum unlade_code code = unlade_kernel_run_device(kernel, &batch, NULL, &result, &output, &error);
    EXPECT(batch.array.release == NULL);
    if (code == UNLADE_OK) {
        /* Of 0 to 999 those above 900. */
        EXPECT(result.array.length == 99);
        result.array.release(&result.array);
    } else if (strstr(unlade_error_message(error), said) == NULL) {
        fprintf(stderr, "%s: %s\n", unlade_code_name(code), unlade_error_message(error));
        exit(1);
    }
    unlade_output_release(&output);
    unlade_error_free(error);
    made++;
    EXPECT(is_lost || released == made);
    return code;
}

static struct unlade_session *ended_by;

/* Once the event was asked for in vain: it is reached, or nobody waits for it any more. */
static void *meanwhile(void *unused)
{
    while (asked() < 3)
        sleep_ms(1);
    if (ended_by == NULL)
        hold(NULL);
    else
        TRY(unlade_session_cancel(ended_by, &error));
    return unused;
}

static void late(struct unlade_runtime *runtime, const struct ArrowSchema *schema, void *event)
{
    struct unlade_kernel *kernel = compile(runtime, NULL, schema, "n > 900", "*");
    pthread_t thread;
    hold(event);
    EXPECT(pthread_create(&thread, NULL, meanwhile, NULL) == 0);
    EXPECT(run(kernel, event, "") == UNLADE_OK);
    EXPECT(pthread_join(thread, NULL) == 0 && asked() >= 3);

    /* Never: as long as a device may take. It is not the device's doing, which works on. */
    hold(event);
    int64_t began = now_ms();
    EXPECT(run(kernel, event, "is not reached within 2s") == UNLADE_DEVICE_FAULT);
    EXPECT(now_ms() - began >= PATIENCE_MS);
    EXPECT(run(kernel, NULL, "") == UNLADE_OK);
    hold(NULL);
    EXPECT(run(kernel, event, "") == UNLADE_OK);
    unlade_kernel_free(kernel);
}

static void given_up(struct unlade_runtime *runtime, const struct ArrowSchema *schema, void *event)
{
    struct unlade_session_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        options.deadline_ms = by_deadline ? 50 : 0;
        struct unlade_session *session;
        TRY(unlade_session_open(runtime, &options, &session, &error));
        struct unlade_kernel *kernel = compile(runtime, session, schema, "n > 900", "*");
        hold(event);
        if (by_deadline) {
            EXPECT(run(kernel, event, "deadline") == UNLADE_DEADLINE);
        } else {
            pthread_t thread;
            ended_by = session;
            EXPECT(pthread_create(&thread, NULL, meanwhile, NULL) == 0);
            EXPECT(run(kernel, event, "cancelled") == UNLADE_CANCELLED);
            EXPECT(pthread_join(thread, NULL) == 0);
            ended_by = NULL;
        }
        hold(NULL);
        unlade_kernel_free(kernel);
        unlade_session_free(session);
    }
}

/* Runs a batch of the host's: where the GPU was lost it is brought back for it, or the CPU has it. Whether
 * the GPU had it. */
static int runs_on_gpu(const struct unlade_kernel *kernel)
{
    struct ArrowArray batch;
    make_batch(&batch, ROWS, 1, &column, &released);
    struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    EXPECT(output.array.length == 99);
    struct unlade_receipt_part_figures part;
    memset(&part, 0, sizeof part);
    part.struct_size = sizeof part;
    TRY(unlade_receipt_part(output.receipt, 0, &part, &error));
    int had = part.is_complete && strcmp(part.device, "sim-gpu:0") == 0;
    unlade_output_release(&output);
    made++;
    return had;
}

/* As it is asked what memory is, and as it copies, which leaves the batch to it for good. The batch is in
 * the GPU's memory, so nothing else can have it; others are computed meanwhile. As with CUDA, a context
 * that failed is there until all have released it who hold it. */
static void lost(struct unlade_runtime *runtime, const struct ArrowSchema *schema, int also_copies)
{
    struct unlade_kernel *kernel = compile(runtime, NULL, schema, "n > 900", "*");
    struct unlade_session_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.placement = "sim-gpu:0";
    struct unlade_session *session;
    TRY(unlade_session_open(runtime, &options, &session, &error));
    struct unlade_kernel *on_gpu = compile(runtime, session, schema, "n > 900", "*");
    const int64_t calls[][2] = {{1, 0}, {3, 0}, {0, 1}};
    for (int i = 0; i < 2 + also_copies; i++) {
        fail(calls[i][0], calls[i][1]);
        is_lost = 1;
        EXPECT(run(kernel, NULL, "CUDA_ERROR_ILLEGAL_ADDRESS") == UNLADE_DEVICE_FAULT);
        fail(0, 0);
        leave_driver();
        for (int64_t began = now_ms(); !runs_on_gpu(on_gpu); sleep_ms(20))
            EXPECT(now_ms() - began < 30000);
        load_driver();
        EXPECT(run(kernel, NULL, "") == UNLADE_OK);
        is_lost = 0;
        EXPECT(released == made - (calls[i][1] != 0));
    }
    unlade_kernel_free(on_gpu);
    unlade_session_free(session);
    unlade_kernel_free(kernel);
}

static void release_nothing(struct ArrowArray *array)
{
    free(array->buffers);
    array->release = NULL;
}

/* All of them in one allocation. */
static void many_buffers(struct unlade_runtime *runtime)
{
    enum { LINE = 64, USED = 10 };
    static struct column columns[COLUMNS];
    static char names[COLUMNS][8];
    static char bytes[COLUMNS * 2 * LINE];
    for (int i = 0; i < COLUMNS; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        const struct column one = {names[i], "i", 1, 2, {NULL, NULL, NULL}, {0, 0, 0}};
        columns[i] = one;
        /* Of ten rows the first is null. */
        memcpy(bytes + i * 2 * LINE, "\xFE\xFF", 2);
        for (int32_t row = 0; row < USED; row++) {
            int32_t number = i * USED + row;
            memcpy(bytes + (i * 2 + 1) * LINE + row * sizeof number, &number, sizeof number);
        }
    }
    struct ArrowSchema schema;
    make_schema(&schema, COLUMNS, columns);
    struct unlade_kernel *kernel = compile(runtime, NULL, &schema, "c0 >= 4", "c1, c34567, c34999");
    struct ArrowDeviceArray batch, result;
    memset(&batch, 0, sizeof batch);
    make_batch(&batch.array, USED, COLUMNS, columns, &released);
    batch.device_type = ARROW_DEVICE_CUDA;
    uint64_t there;
    EXPECT(allocate(&there, sizeof bytes) == 0 && upload(there, bytes, sizeof bytes) == 0);
    for (int i = 0; i < COLUMNS; i++) {
        struct ArrowArray *child = batch.array.children[i];
        for (int j = 0; j < 2; j++)
            child->buffers[j] = (const void *)(uintptr_t)(there + (i * 2 + j) * LINE);
        child->release = release_nothing;
    }
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run_device(kernel, &batch, NULL, &result, &output, &error));
    EXPECT(released == ++made && free_memory(there) == 0);
    /* All of it was brought, as engines may want any column's nulls. */
    EXPECT(output.bytes_copied >= (uint64_t)COLUMNS * (2 + USED * sizeof(int32_t)));
    const int wanted[] = {1, 34567, 34999};
    for (int i = 0; i < 3; i++) {
        const struct ArrowArray *column = result.array.children[i];
        const int32_t *values = (const int32_t *)column->buffers[1] + column->offset;
        EXPECT(column->length == 6);
        for (int row = 0; row < 6; row++)
            EXPECT(values[row] == wanted[i] * USED + 4 + row);
    }
    result.array.release(&result.array);
    unlade_output_release(&output);
    unlade_kernel_free(kernel);
    schema.release(&schema);
}

/* Whether a copy is to fail, too. */
int main(int words, char **word)
{
    (void)word;
    for (int32_t row = 0; row < ROWS; row++)
        numbers[row] = row;
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime *runtime;
    open_runtime("cpu,sim-gpu", PATIENCE_MS, &runtime);
    load_driver();
    void *library = dlopen(getenv("UNLADE_SIM_GPU_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
    find(library, "between_hold", &hold);
    find(library, "between_asked", &asked);
    find(library, "between_fail", &fail);
    void *event;
    EXPECT(create_event(&event, 0) == 0 && record_event(event, NULL) == 0);

    late(runtime, &schema, event);
    given_up(runtime, &schema, event);
    many_buffers(runtime);
    EXPECT(destroy_event(event) == 0);
    lost(runtime, &schema, words > 1);

    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
