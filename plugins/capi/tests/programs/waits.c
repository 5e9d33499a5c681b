/* Who the runtime calls is not left waiting for its tickets, and a callback finds its ticket. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "batch.h"

static int may_go_on, holds, cancelled, told;
static struct unlade_kernel *plain;
static const int32_t numbers[] = {1, 2, 3};
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};

static void wait_for(const int *flag)
{
    const struct timespec moment = {0, 1000000};
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        nanosleep(&moment, NULL);
}

/* Waits for a ticket of the same runtime, whose one thread this has; it must not. */
static void wait_within(const char *what)
{
    struct ArrowArray batch;
    make_batch(&batch, 3, 1, &column, NULL);
    struct unlade_ticket *ticket;
    TRY(unlade_kernel_submit(plain, &batch, NULL, &ticket, &error));
    struct unlade_output output = wanting(0);
    struct unlade_error *error = NULL;
    EXPECT(unlade_ticket_wait(ticket, 0, &output, &error) == UNLADE_PENDING);
    for (int64_t within_ms = -1; within_ms < 2; within_ms += 2) {
        EXPECT(unlade_ticket_wait(ticket, within_ms, &output, &error) == UNLADE_INVALID_ARGUMENT);
        EXPECT(strstr(unlade_error_message(error), what) != NULL);
        unlade_error_free(error);
    }
    unlade_ticket_free(ticket);
    make_batch(&batch, 3, 1, &column, NULL);
    TRY(unlade_kernel_run(plain, &batch, NULL, &output, &error));
    unlade_output_release(&output);
}

static int hold(void *user, const struct ArrowSchema *types, struct ArrowArray *arguments, size_t count,
                int64_t rows, struct ArrowArray *result, struct unlade_function_failure *failure)
{
    (void)user, (void)types, (void)count, (void)rows, (void)failure;
    wait_within("a user's function");
    __atomic_store_n(&holds, 1, __ATOMIC_RELEASE);
    wait_for(&may_go_on);
    *result = arguments[0];
    arguments[0].release = NULL;
    return 0;
}

static void done(void *user, enum unlade_code code, struct unlade_output *output,
                 struct unlade_error *error)
{
    (void)error;
    EXPECT(code == UNLADE_OK && output->array.length == 3);
    EXPECT(*(struct unlade_ticket **)user != NULL);
    wait_within("a callback");
    __atomic_store_n(&told, 1, __ATOMIC_RELEASE);
}

/* On the thread that cancels, while the runtime's one thread is held. */
static void ended(void *user, enum unlade_code code, struct unlade_output *output,
                  struct unlade_error *error)
{
    (void)user, (void)output, (void)error;
    EXPECT(code == UNLADE_CANCELLED);
    wait_within("a callback");
    cancelled = 1;
}

int main(void)
{
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu";
    options.threads = 1;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_function function;
    memset(&function, 0, sizeof function);
    function.struct_size = sizeof function;
    function.name = "hold";
    function.arguments = &schema;
    function.result = schema.children[0];
    function.call = hold;
    TRY(unlade_function_register(runtime, &function, &error));
    struct unlade_query *query;
    TRY(unlade_query_text(NULL, NULL, 0, &query, &error));
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &plain, &error));
    unlade_query_free(query);
    TRY(unlade_query_text_with(runtime, NULL, "hold(n) as n", 0, &query, &error));
    struct unlade_kernel *held;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &held, &error));
    unlade_query_free(query);

    struct ArrowArray batch;
    make_batch(&batch, 3, 1, &column, NULL);
    struct unlade_ticket *ticket = NULL;
    TRY(unlade_kernel_submit_then(held, &batch, NULL, 0, ended, NULL, &ticket, &error));
    wait_for(&holds);
    TRY(unlade_ticket_cancel(ticket, &error));
    EXPECT(cancelled);
    unlade_ticket_free(ticket);

    make_batch(&batch, 3, 1, &column, NULL);
    ticket = NULL;
    TRY(unlade_kernel_submit_then(held, &batch, NULL, 0, done, &ticket, &ticket, &error));
    __atomic_store_n(&may_go_on, 1, __ATOMIC_RELEASE);
    wait_for(&told);
    unlade_ticket_free(ticket);
    unlade_kernel_free(held);
    unlade_kernel_free(plain);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
