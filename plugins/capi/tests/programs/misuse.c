/* Whatever is handed over wrongly is an error, and nothing is leaked or touched twice. */
#include "batch.h"

static const int32_t numbers[] = {1, 2, 3};
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};

/* That a call fails so, with an error object that says so and one without. */
#define FAILS(wanted, call)                                                                        \
    do {                                                                                           \
        struct unlade_error *error = (struct unlade_error *)&column;                               \
        EXPECT((call) == (wanted));                                                                \
        EXPECT(unlade_error_code(error) == (wanted));                                              \
        EXPECT(strlen(unlade_error_message(error)) > 5);                                          \
        EXPECT(unlade_error_free(error) == UNLADE_OK);                                             \
        EXPECT(unlade_error_free(error) == UNLADE_INVALID_HANDLE);                                 \
    } while (0)

static void handles(struct unlade_runtime *runtime, struct unlade_query *query)
{
    struct unlade_query *made = (struct unlade_query *)&column;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_query_text("n > 1", NULL, 0, NULL, &error));
    FAILS(UNLADE_EXPRESSION, unlade_query_text("n >", NULL, 0, &made, &error));
    EXPECT(made == NULL);
    FAILS(UNLADE_EXPRESSION, unlade_query_text(NULL, "n +", 0, &made, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_query_text("\xff", NULL, 0, &made, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_query_text("n > 1", "n", UNLADE_QUERY_MASK_ONLY, &made, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_query_text("n > 1", "n", 64, &made, &error));

    struct unlade_memory memory;
    memset(&memory, 0, sizeof memory);
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_memory(runtime, &memory, &error));
    memory.struct_size = sizeof memory;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_memory(NULL, &memory, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_memory(runtime, NULL, &error));
    FAILS(UNLADE_INVALID_HANDLE, unlade_runtime_memory((const struct unlade_runtime *)query, &memory, &error));
    FAILS(UNLADE_INVALID_HANDLE, unlade_runtime_memory((void *)&memory, &memory, &error));
    FAILS(UNLADE_INVALID_HANDLE, unlade_runtime_memory((void *)17, &memory, &error));
    EXPECT(unlade_runtime_free((void *)query) == UNLADE_INVALID_HANDLE);
    EXPECT(unlade_runtime_free(NULL) == UNLADE_OK);
    EXPECT(unlade_error_code(NULL) == 0 && unlade_error_message(NULL) == NULL);
    EXPECT(unlade_error_code((void *)query) == 0);
    EXPECT(unlade_receipt_json((void *)query) == NULL);
    EXPECT(unlade_devices_count((void *)query) == 0);
    EXPECT(unlade_string_free((char *)numbers) == UNLADE_INVALID_HANDLE);
    char *text;
    TRY(unlade_runtime_status_json(runtime, &text, &error));
    EXPECT(strstr(text, "\"devices\"") != NULL);
    EXPECT(unlade_string_free(text) == UNLADE_OK);
    EXPECT(unlade_string_free(text) == UNLADE_INVALID_HANDLE);
    EXPECT(strcmp(unlade_code_name(UNLADE_DATA), "UNLADE_DATA") == 0);
    EXPECT(unlade_code_name(99) == NULL);

    /* Structs of other versions: smaller ones there were none, larger ones must not be used so. */
    struct {
        struct unlade_runtime_options known;
        uint64_t later;
    } options;
    memset(&options, 0, sizeof options);
    options.known.struct_size = sizeof options;
    struct unlade_runtime *opened;
    TRY(unlade_runtime_open(&options.known, &opened, &error));
    unlade_runtime_free(opened);
    options.later = 1;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_open(&options.known, &opened, &error));
    options.later = 0;
    options.known.flags = 1u << 31;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_open(&options.known, &opened, &error));
    options.known.flags = 0;
    options.known.struct_size = 3;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_runtime_open(&options.known, &opened, &error));
    options.known.struct_size = sizeof options.known;
    options.known.devices = "tpu:0";
    FAILS(UNLADE_CONFIG, unlade_runtime_open(&options.known, &opened, &error));
    options.known.devices = NULL;
    options.known.placement = "cuda:7";
    FAILS(UNLADE_CONFIG, unlade_runtime_open(&options.known, &opened, &error));
    EXPECT(opened == NULL);

    struct unlade_session_options asks;
    memset(&asks, 0, sizeof asks);
    asks.struct_size = sizeof asks;
    asks.devices = "gpu=0.5";
    struct unlade_session *session;
    FAILS(UNLADE_REFUSED, unlade_session_open(runtime, &asks, &session, &error));
    asks.devices = "gpu=lots";
    FAILS(UNLADE_CONFIG, unlade_session_open(runtime, &asks, &session, &error));
    asks.devices = NULL;
    asks.priority = 7;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_session_open(runtime, &asks, &session, &error));
}

static void schemas(struct unlade_runtime *runtime, struct unlade_query *query)
{
    struct unlade_kernel *kernel;
    FAILS(UNLADE_INVALID_ARGUMENT,
          unlade_kernel_compile(runtime, NULL, query, NULL, NULL, &kernel, &error));
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct ArrowSchema *child = schema.children[0];
    struct unlade_kernel_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.semantics = "sparkle";
    FAILS(UNLADE_INVALID_ARGUMENT,
          unlade_kernel_compile(runtime, NULL, query, &schema, &options, &kernel, &error));
    options.semantics = NULL;
    options.check = 9;
    FAILS(UNLADE_INVALID_ARGUMENT,
          unlade_kernel_compile(runtime, NULL, query, &schema, &options, &kernel, &error));

#define REFUSED                                                                                    \
    FAILS(UNLADE_MALFORMED,                                                                        \
          unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error))
    struct ArrowSchema was = schema, child_was = *child;
    schema.format = NULL;
    REFUSED;
    schema = was;
    schema.format = "i";
    schema.n_children = 0;
    REFUSED;
    schema = was;
    schema.n_children = -1;
    REFUSED;
    schema = was;
    schema.children = NULL;
    REFUSED;
    schema = was;
    schema.release = NULL;
    REFUSED;
    schema = was;
    schema.children[0] = NULL;
    REFUSED;
    schema.children[0] = child;
    child->format = "\xff";
    REFUSED;
    *child = child_was;
    child->format = "nonsense";
    REFUSED;
    *child = child_was;
    child->format = "w:-3";
    REFUSED;
    *child = child_was;
    child->format = "d:99,0";
    REFUSED;
    *child = child_was;
    child->format = "+l";
    REFUSED;
    *child = child_was;
    child->format = "+ud:300";
    REFUSED;
    *child = child_was;
    child->n_children = INT64_MAX;
    child->children = schema.children;
    REFUSED;
    *child = child_was;
    child->name = "\xff";
    REFUSED;
    *child = child_was;
    const char negative[] = {1, 0, 0, 0, -1, -1, -1, -1};
    child->metadata = negative;
    REFUSED;
    *child = child_was;
    /* A type within itself has no end. */
    struct ArrowSchema *itself = child;
    child->format = "+l";
    child->n_children = 1;
    child->children = &itself;
    REFUSED;
    *child = child_was;
    child->format = "f";
    child->dictionary = &child_was;
    REFUSED;
    *child = child_was;
    schema.release(&schema);
}

static void runs(struct unlade_runtime *runtime, struct unlade_query *query)
{
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    /* What is handed over is released once, whatever is wrong. */
    struct ArrowArray batch;
    int released = 0;
    struct unlade_output output = wanting(0);
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_kernel_run(kernel, NULL, NULL, &output, &error));
    make_batch(&batch, 3, 1, &column, &released);
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_kernel_run(kernel, &batch, NULL, NULL, &error));
    EXPECT(batch.release == NULL && released == 1);
    FAILS(UNLADE_MALFORMED, unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    EXPECT(output.array.release == NULL && output.receipt == NULL);
    make_batch(&batch, 3, 1, &column, &released);
    FAILS(UNLADE_INVALID_HANDLE, unlade_kernel_run((void *)query, &batch, NULL, &output, &error));
    EXPECT(batch.release == NULL && released == 2);
    make_batch(&batch, 3, 1, &column, &released);
    output.want = 1u << 30;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    output = wanting(0);
    output.struct_size--;
    make_batch(&batch, 3, 1, &column, &released);
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_kernel_run(kernel, &batch, NULL, &output, &error));
    EXPECT(released == 4);

    /* Of another schema. */
    const int64_t longs[] = {1, 2, 3};
    const struct column other = {"n", "l", 0, 2, {NULL, longs, NULL}, {0, sizeof longs, 0}};
    struct ArrowSchema other_schema;
    make_schema(&other_schema, 1, &other);
    make_batch(&batch, 3, 1, &other, &released);
    output = wanting(0);
    FAILS(UNLADE_SCHEMA, unlade_kernel_run(kernel, &batch, &other_schema, &output, &error));
    EXPECT(released == 5);

    /* A row that has no result is named. */
    struct unlade_query *fails;
    TRY(unlade_query_text(NULL, "1 / (n - 2)", 0, &fails, &error));
    struct unlade_kernel *failing;
    TRY(unlade_kernel_compile(runtime, NULL, fails, &schema, NULL, &failing, &error));
    make_batch(&batch, 3, 1, &column, &released);
    struct unlade_error *error = NULL;
    EXPECT(unlade_kernel_run(failing, &batch, NULL, &output, &error) == UNLADE_DATA);
    uint64_t row = 99;
    EXPECT(unlade_error_row(error, &row) && row == 1);
    EXPECT(unlade_error_row(error, NULL));
    unlade_error_free(error);
    EXPECT(!unlade_error_row(error, &row));
    EXPECT(released == 6);

    /* A session that was cancelled, a ticket that was. */
    struct unlade_session *session;
    TRY(unlade_session_open(runtime, NULL, &session, &error));
    struct unlade_kernel *of_session;
    TRY(unlade_kernel_compile(runtime, session, query, &schema, NULL, &of_session, &error));
    TRY(unlade_session_cancel(session, &error));
    make_batch(&batch, 3, 1, &column, &released);
    FAILS(UNLADE_CANCELLED, unlade_kernel_run(of_session, &batch, NULL, &output, &error));
    make_batch(&batch, 3, 1, &column, &released);
    struct unlade_ticket *ticket;
    TRY(unlade_kernel_submit(kernel, &batch, NULL, &ticket, &error));
    TRY(unlade_ticket_wait(ticket, -1, &output, &error));
    unlade_output_release(&output);
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_ticket_wait(ticket, -1, &output, &error));
    TRY(unlade_ticket_cancel(ticket, &error));
    EXPECT(unlade_ticket_free(ticket) == UNLADE_OK);
    EXPECT(unlade_ticket_free(ticket) == UNLADE_INVALID_HANDLE);
    FAILS(UNLADE_INVALID_HANDLE, unlade_ticket_cancel(ticket, &error));
    make_batch(&batch, 3, 1, &column, &released);
    FAILS(UNLADE_INVALID_ARGUMENT,
          unlade_kernel_submit_then(kernel, &batch, NULL, 0, NULL, NULL, NULL, &error));
    EXPECT(released == 9);
    struct ArrowArrayStream none;
    memset(&none, 0, sizeof none);
    struct unlade_stream *stream;
    FAILS(UNLADE_MALFORMED, unlade_kernel_stream(kernel, &none, &stream, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_kernel_stream(kernel, NULL, &stream, &error));
    const char *nowhere[] = {"/nowhere/at.parquet"};
    FAILS(UNLADE_INPUT, unlade_scan_open(nowhere, 1, NULL, &none, &error));
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_scan_open(NULL, 1, NULL, &none, &error));
    nowhere[0] = NULL;
    FAILS(UNLADE_INVALID_ARGUMENT, unlade_scan_open(nowhere, 1, NULL, &none, &error));

    unlade_kernel_free(of_session);
    unlade_session_free(session);
    unlade_kernel_free(failing);
    unlade_query_free(fails);
    unlade_kernel_free(kernel);
    other_schema.release(&other_schema);
    schema.release(&schema);
}

int main(void)
{
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu";
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("n > 1", NULL, 0, &query, &error));
    handles(runtime, query);
    schemas(runtime, query);
    runs(runtime, query);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
