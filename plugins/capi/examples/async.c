/* Submits batches and polls for their results; then has a callback called.
 *
 *     gcc async.c $(pkg-config --cflags --libs unlade) -pthread -o async && ./async
 */
#define _POSIX_C_SOURCE 200809L
#include "batch.h"

#include <poll.h>
#include <pthread.h>

enum { BATCHES = 8, ROWS = 1000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static int64_t rows_called_with = -1;

/* On a thread of the runtime, which it must not keep. */
static void done(void *user, enum unlade_code code, struct unlade_output *output,
                 struct unlade_error *error)
{
    if (code != UNLADE_OK) {
        fprintf(stderr, "%s\n", unlade_error_message(error));
        exit(1);
    }
    pthread_mutex_lock(&mutex);
    *(int64_t *)user = output->array.length;
    pthread_cond_signal(&called);
    pthread_mutex_unlock(&mutex);
}

int main(void)
{
    int32_t numbers[ROWS];
    for (int row = 0; row < ROWS; row++)
        numbers[row] = row;
    const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);

    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 3;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n >= 990", NULL, 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    struct unlade_ticket *tickets[BATCHES];
    struct pollfd fds[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        struct ArrowArray batch;
        make_batch(&batch, ROWS, 1, &column, NULL);
        TRY(unlade_kernel_submit(kernel, &batch, NULL, &tickets[i], &error));
        TRY(unlade_ticket_fd(tickets[i], &fds[i].fd, &error));
        fds[i].events = POLLIN;
    }
    int64_t rows = 0;
    for (int left = BATCHES; left > 0;) {
        EXPECT(poll(fds, BATCHES, 10000) > 0);
        for (int i = 0; i < BATCHES; i++) {
            if (fds[i].fd < 0 || !(fds[i].revents & POLLIN))
                continue;
            struct unlade_output output = wanting(0);
            TRY(unlade_ticket_wait(tickets[i], 0, &output, &error));
            rows += output.array.length;
            unlade_output_release(&output);
            unlade_ticket_free(tickets[i]);
            fds[i].fd = -1; /* closed with its ticket */
            left--;
        }
    }
    printf("%lld rows by polling\n", (long long)rows);

    struct ArrowArray batch;
    make_batch(&batch, ROWS, 1, &column, NULL);
    TRY(unlade_kernel_submit_then(kernel, &batch, NULL, 0, done, &rows_called_with, NULL, &error));
    pthread_mutex_lock(&mutex);
    while (rows_called_with < 0)
        pthread_cond_wait(&called, &mutex);
    pthread_mutex_unlock(&mutex);
    printf("%lld rows by a callback\n", (long long)rows_called_with);

    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    return 0;
}
