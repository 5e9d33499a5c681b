/* In a forked child every call is an error, and says so; what is handed over is released all the
 * same. The parent goes on. */
#define _POSIX_C_SOURCE 200809L
#include "batch.h"

#include <sys/wait.h>
#include <unistd.h>

static const int32_t numbers[] = {1, 2, 3};
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};

static struct unlade_runtime *runtime;
static struct unlade_query *query;
static struct unlade_kernel *kernel;
static struct ArrowSchema schema;

/* The number of the first thing that is not so; 0 where all is. */
static int child(void)
{
    struct unlade_error *error = NULL;
    int released = 0;
    struct ArrowArray batch;
    make_batch(&batch, 3, 1, &column, &released);
    struct unlade_output output = wanting(0);
    if (unlade_kernel_run(kernel, &batch, NULL, &output, &error) != UNLADE_FORKED)
        return 1;
    if (released != 1 || batch.release != NULL)
        return 2;
    if (unlade_error_code(error) != UNLADE_FORKED || strstr(unlade_error_message(error), "fork") == NULL)
        return 3;
    if (unlade_error_free(error) != UNLADE_OK)
        return 4;
    struct unlade_runtime *opened;
    if (unlade_runtime_open(NULL, &opened, NULL) != UNLADE_FORKED)
        return 5;
    struct unlade_kernel *compiled;
    if (unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &compiled, NULL) != UNLADE_FORKED)
        return 6;
    if (unlade_kernel_free(kernel) != UNLADE_FORKED || unlade_runtime_free(runtime) != UNLADE_FORKED)
        return 7;
    if (unlade_handle_count() != 0 || unlade_abi_version() == 0)
        return 8;
    struct ArrowArrayStream stream;
    const char *path = "x.parquet";
    if (unlade_scan_open(&path, 1, NULL, &stream, NULL) != UNLADE_FORKED)
        return 9;
    return 0;
}

int main(void)
{
    make_schema(&schema, 1, &column);
    TRY(unlade_runtime_open(NULL, &runtime, &error));
    TRY(unlade_query_text("n > 1", NULL, 0, &query, &error));
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0)
        _exit(child());
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0) {
        fprintf(stderr, "in the child, number %d is not so\n", WEXITSTATUS(status));
        return 1;
    }
    struct ArrowArray batch;
    make_batch(&batch, 3, 1, &column, NULL);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    EXPECT(output.array.length == 2);
    unlade_output_release(&output);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
