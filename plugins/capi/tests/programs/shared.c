/* Two engines in one process share one runtime: one pool, one budget, one list of sessions. Both see
 * what goes on by the log. */
#include "batch.h"

enum { ROWS = 100000 };

static int messages;

static void log_message(void *user, int32_t level, const char *target, const char *message)
{
    EXPECT(user == &messages && level >= UNLADE_LOG_ERROR && level <= UNLADE_LOG_TRACE);
    EXPECT(strlen(target) > 0 && strlen(message) > 0);
    if (level == UNLADE_LOG_WARN && strstr(message, "calibration") == NULL)
        return;
    __atomic_add_fetch(&messages, 1, __ATOMIC_RELAXED);
}

struct engine {
    struct unlade_runtime *runtime;
    struct unlade_session *session;
    struct unlade_kernel *kernel;
};

static struct engine engine(const char *label, const struct ArrowSchema *schema)
{
    struct engine made;
    TRY(unlade_runtime_shared(NULL, &made.runtime, &error));
    struct unlade_session_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.label = label;
    options.devices = "cpu=0.5";
    TRY(unlade_session_open(made.runtime, &options, &made.session, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n % 2 = 0", NULL, 0, &query, &error));
    TRY(unlade_kernel_compile(made.runtime, made.session, query, schema, NULL, &made.kernel, &error));
    unlade_query_free(query);
    return made;
}

static void end(struct engine *engine)
{
    unlade_kernel_free(engine->kernel);
    unlade_session_free(engine->session);
    unlade_runtime_free(engine->runtime);
}

static struct unlade_memory memory_of(struct unlade_runtime *runtime)
{
    struct unlade_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.struct_size = sizeof memory;
    TRY(unlade_runtime_memory(runtime, &memory, &error));
    return memory;
}

int main(void)
{
    TRY(unlade_log_set(UNLADE_LOG_TRACE, log_message, &messages, &error));
    static int32_t numbers[ROWS];
    const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);

    struct engine one = engine("one", &schema), other = engine("other", &schema);
    /* No half of the CPU is left for a third. */
    struct unlade_session_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu=0.5";
    struct unlade_session *third;
    EXPECT(unlade_session_open(one.runtime, &options, &third, NULL) == UNLADE_REFUSED);

    /* What the one holds the other sees. */
    struct ArrowArray batch;
    make_batch(&batch, ROWS, 1, &column, NULL);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run(one.kernel, &batch, NULL, &output, &error));
    struct unlade_memory seen = memory_of(other.runtime);
    EXPECT(seen.exported >= sizeof numbers && seen.budget == memory_of(one.runtime).budget);
    char *status;
    TRY(unlade_runtime_status_json(other.runtime, &status, &error));
    EXPECT(strstr(status, "\"one\"") != NULL && strstr(status, "\"other\"") != NULL);
    unlade_string_free(status);
    TRY(unlade_session_status_json(one.session, &status, &error));
    EXPECT(strstr(status, "\"batches\":1") != NULL);
    unlade_string_free(status);

    /* Who asks for another one is told. */
    struct unlade_runtime_options wanted;
    memset(&wanted, 0, sizeof wanted);
    wanted.struct_size = sizeof wanted;
    wanted.memory_budget = 1 << 20;
    struct unlade_runtime *refused;
    EXPECT(unlade_runtime_shared(&wanted, &refused, NULL) == UNLADE_CONFIG);

    struct unlade_devices *devices;
    TRY(unlade_runtime_devices(one.runtime, &devices, &error));
    EXPECT(unlade_devices_count(devices) >= 1);
    struct unlade_device device;
    memset(&device, 0, sizeof device);
    device.struct_size = sizeof device;
    TRY(unlade_devices_get(devices, 0, &device, &error));
    EXPECT(strcmp(device.name, "cpu") == 0 && strcmp(device.kind, "cpu") == 0);
    EXPECT(strcmp(device.state, "ready") == 0 && device.address == NULL);
    EXPECT(strstr(unlade_devices_json(devices), "\"architecture\"") != NULL);
    EXPECT(unlade_devices_get(devices, 99, &device, NULL) == UNLADE_INVALID_ARGUMENT);
    unlade_devices_free(devices);

    /* It ends with the last of them; a result outlives it. */
    end(&one);
    EXPECT(unlade_runtime_shared(&wanted, &refused, NULL) == UNLADE_CONFIG);
    end(&other);
    EXPECT(output.array.length == ROWS);
    unlade_output_release(&output);
    struct unlade_runtime *small;
    TRY(unlade_runtime_shared(&wanted, &small, &error));
    EXPECT(memory_of(small).budget == 1 << 20);
    unlade_runtime_free(small);

    /* A folder is no file of measurements: that is coped with, and told. */
    struct unlade_runtime_options odd;
    memset(&odd, 0, sizeof odd);
    odd.struct_size = sizeof odd;
    odd.devices = "cpu";
    odd.calibration = "/";
    struct unlade_runtime *warns;
    TRY(unlade_runtime_open(&odd, &warns, &error));
    unlade_runtime_free(warns);
    int told = __atomic_load_n(&messages, __ATOMIC_RELAXED);
    EXPECT(told > 0);
    TRY(unlade_log_set(UNLADE_LOG_OFF, NULL, NULL, &error));
    TRY(unlade_runtime_open(&odd, &warns, &error));
    unlade_runtime_free(warns);
    EXPECT(__atomic_load_n(&messages, __ATOMIC_RELAXED) == told);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
