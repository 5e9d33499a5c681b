/* Threads that call one kernel at once, each with batches of its own, in every way that there is. */
#define _POSIX_C_SOURCE 200809L
#include "batch.h"

#include <pthread.h>
#include <time.h>

enum { THREADS = 8, BATCHES = 200, ROWS = 500 };

static struct unlade_kernel *kernel;
static struct column column;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long called;

static void done(void *user, enum unlade_code code, struct unlade_output *output,
                 struct unlade_error *error)
{
    EXPECT(code == UNLADE_OK || code == UNLADE_CANCELLED);
    EXPECT((error == NULL) == (code == UNLADE_OK));
    EXPECT(code != UNLADE_OK || output->array.length == 100);
    pthread_mutex_lock(&mutex);
    ++*(long *)user;
    pthread_mutex_unlock(&mutex);
}

static void *work(void *number)
{
    for (int i = 0; i < BATCHES; i++) {
        struct ArrowArray batch;
        make_batch(&batch, ROWS, 1, &column, NULL);
        struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
        struct unlade_ticket *ticket;
        switch ((i + *(int *)number) % 3) {
        case 0:
            TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
            EXPECT(output.array.length == 100);
            break;
        case 1:
            TRY(unlade_kernel_submit(kernel, &batch, NULL, &ticket, &error));
            TRY(unlade_ticket_wait(ticket, -1, &output, &error));
            EXPECT(output.array.length == 100);
            EXPECT(unlade_ticket_free(ticket) == UNLADE_OK);
            break;
        default:
            TRY(unlade_kernel_submit_then(kernel, &batch, NULL, 0, done, &called, &ticket, &error));
            if (i % 2 == 0)
                TRY(unlade_ticket_cancel(ticket, &error));
            EXPECT(unlade_ticket_free(ticket) == UNLADE_OK);
            continue;
        }
        unlade_output_release(&output);
    }
    return NULL;
}

int main(void)
{
    static int32_t numbers[ROWS];
    for (int row = 0; row < ROWS; row++)
        numbers[row] = row;
    const struct column filled = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    column = filled;
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 2;
    options.max_tickets = 1 << 20;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n % 5 = 0", NULL, 0, &query, &error));
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    pthread_t threads[THREADS];
    int numbers_of[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers_of[i] = i;
        EXPECT(pthread_create(&threads[i], NULL, work, &numbers_of[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    /* What was submitted with a callback is done before the runtime has ended. */
    uint64_t cut_off, left;
    TRY(unlade_runtime_shutdown(runtime, 60000, &cut_off, &left, &error));
    EXPECT(cut_off == 0 && left == 0);
    long wanted = 0;
    for (int number = 0; number < THREADS; number++)
        for (int i = 0; i < BATCHES; i++)
            wanted += (i + number) % 3 == 2;
    /* A callback may be under way still, on its thread. */
    for (int waited = 0;; waited++) {
        pthread_mutex_lock(&mutex);
        long so_far = called;
        pthread_mutex_unlock(&mutex);
        if (so_far == wanted)
            break;
        EXPECT(waited < 30000);
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("%ld callbacks\ndone\n", wanted);
    return 0;
}
