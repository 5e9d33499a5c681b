/* Registers a function of one's own, and filters by what it gives.
 *
 *     gcc function.c $(pkg-config --cflags --libs unlade) -o function && ./function
 */
#include "batch.h"

static void release_result(struct ArrowArray *array)
{
    free((void *)array->buffers[1]);
    free(array->buffers);
    array->release = NULL;
}

/* The greatest common divisor of two columns of int64 without nulls. */
static int gcd(void *user, const struct ArrowSchema *types, struct ArrowArray *arguments, size_t count,
               int64_t rows, struct ArrowArray *result, struct unlade_function_failure *failure)
{
    (void)user, (void)types, (void)count;
    const int64_t *left = (const int64_t *)arguments[0].buffers[1] + arguments[0].offset;
    const int64_t *right = (const int64_t *)arguments[1].buffers[1] + arguments[1].offset;
    int64_t *divisors = must_have(malloc((rows > 0 ? rows : 1) * sizeof *divisors));
    for (int64_t row = 0; row < rows; row++) {
        int64_t a = left[row], b = right[row];
        if (a < 0 || b < 0) {
            failure->row = row;
            snprintf(failure->message, sizeof failure->message, "%lld is below zero",
                     (long long)(a < 0 ? a : b));
            free(divisors);
            return 1;
        }
        while (b != 0) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        divisors[row] = a;
    }
    result->length = rows;
    result->n_buffers = 2;
    result->buffers = must_have(calloc(2, sizeof(void *)));
    result->buffers[1] = divisors;
    result->release = release_result;
    return 0;
}

int main(void)
{
    const int64_t numbers[] = {6, 35, 17, 12, -4}, others[] = {4, 18, 51, 25, 2};
    const struct column columns[] = {
        {"a", "l", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}},
        {"b", "l", 0, 2, {NULL, others, NULL}, {0, sizeof others, 0}},
    };
    struct ArrowSchema schema;
    make_schema(&schema, 2, columns);
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(NULL, &runtime, &error));

    /* It takes what the two columns are, and gives the same. */
    struct unlade_function function;
    memset(&function, 0, sizeof function);
    function.struct_size = sizeof function;
    function.name = "gcd";
    function.arguments = &schema;
    function.result = schema.children[0];
    function.call = gcd;
    TRY(unlade_function_register(runtime, &function, &error));

    struct unlade_query *query;
    TRY(unlade_query_text_with(runtime, "gcd(a, b) = 1", "a, b", 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
    char *explained;
    TRY(unlade_kernel_explain(kernel, &explained, &error));
    EXPECT(strstr(explained, "calls gcd(a, b) on cpu") != NULL);
    unlade_string_free(explained);

    struct ArrowArray batch;
    make_batch(&batch, 4, 2, columns, NULL);
    struct unlade_output output = wanting(0);
    TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    const struct ArrowArray *a = output.array.children[0], *b = output.array.children[1];
    for (int64_t row = 0; row < output.array.length; row++)
        printf("%lld and %lld\n", (long long)((const int64_t *)a->buffers[1])[a->offset + row],
               (long long)((const int64_t *)b->buffers[1])[b->offset + row]);
    unlade_output_release(&output);

    /* An error of the function is one of the data, and has the row. */
    make_batch(&batch, 5, 2, columns, NULL);
    struct unlade_error *error;
    EXPECT(unlade_kernel_run(kernel, &batch, NULL, &output, &error) == UNLADE_DATA);
    printf("%s\n", unlade_error_message(error));
    unlade_error_free(error);

    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    return 0;
}
