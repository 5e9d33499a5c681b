/* No column is copied on its way in or out, and where one is, that is said. */
#include "batch.h"

static struct unlade_kernel *compile(struct unlade_runtime *runtime, const char *filter,
                                     const char *select, uint32_t mask,
                                     const struct ArrowSchema *schema, uint32_t flags)
{
    struct unlade_query *query;
    TRY(unlade_query_text(filter, select, mask, &query, &error));
    struct unlade_kernel_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = flags;
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, schema, &options, &kernel, &error));
    unlade_query_free(query);
    return kernel;
}

static void release_all_but_values(struct ArrowArray *column)
{
    column->buffers[1] = NULL;
    release_column(column);
}

int main(void)
{
    enum { ROWS = 4096 };
    static int32_t numbers[ROWS];
    static int32_t offsets[ROWS + 1];
    static char text[ROWS * 3];
    static uint8_t valid[ROWS / 8];
    memset(text, 'x', sizeof text);
    memset(valid, 0xfe, sizeof valid);
    for (int row = 0; row < ROWS; row++) {
        numbers[row] = row;
        offsets[row + 1] = 3 * (row + 1);
    }
    const struct column columns[] = {
        {"n", "i", ROWS / 8, 2, {valid, numbers, NULL}, {sizeof valid, sizeof numbers, 0}},
        {"t", "u", 0, 3, {NULL, offsets, text}, {0, sizeof offsets, sizeof text}},
    };
    struct ArrowSchema schema;
    make_schema(&schema, 2, columns);
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(NULL, &runtime, &error));

    /* All rows are kept: what comes out lies where it came in, and holds it. */
    int released = 0;
    struct unlade_kernel *all = compile(runtime, NULL, NULL, 0, &schema, 0);
    struct ArrowArray batch;
    make_batch(&batch, ROWS, 2, columns, &released);
    struct ArrowArray was = batch;
    const void *n_valid = was.children[0]->buffers[0], *n = was.children[0]->buffers[1];
    const void *t_offsets = was.children[1]->buffers[1], *t = was.children[1]->buffers[2];
    struct unlade_output output = wanting(UNLADE_WANT_SCHEMA);
    TRY(unlade_kernel_run(all, &batch, NULL, &output, &error));
    EXPECT(output.bytes_copied == 0);
    EXPECT(output.array.children[0]->buffers[0] == n_valid);
    EXPECT(output.array.children[0]->buffers[1] == n);
    EXPECT(output.array.children[1]->buffers[1] == t_offsets);
    EXPECT(output.array.children[1]->buffers[2] == t);
    EXPECT(output.schema.n_children == 2 && strcmp(output.schema.children[1]->name, "t") == 0);
    EXPECT(released == 0);
    /* A child may be moved out, and outlives the rest. */
    struct ArrowArray child = *output.array.children[1];
    output.array.children[1]->release = NULL;
    unlade_output_release(&output);
    EXPECT(memcmp(child.buffers[2], text, sizeof text) == 0);
    child.release(&child);
    EXPECT(released == 1);
    /* The same through a ticket: in and out without a copy. */
    make_batch(&batch, ROWS, 2, columns, &released);
    n = batch.children[0]->buffers[1];
    struct unlade_ticket *ticket;
    TRY(unlade_kernel_submit(all, &batch, NULL, &ticket, &error));
    TRY(unlade_ticket_wait(ticket, -1, &output, &error));
    EXPECT(output.bytes_copied == 0 && output.array.children[0]->buffers[1] == n);
    unlade_output_release(&output);
    unlade_ticket_free(ticket);
    EXPECT(released == 2);

    /* A result that was computed has nothing of the batch, which is released by then. */
    struct unlade_kernel *some =
        compile(runtime, "n % 2 = 1", "n + 1 as m, t", UNLADE_QUERY_MASK, &schema, 0);
    make_batch(&batch, ROWS, 2, columns, &released);
    output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(some, &batch, NULL, &output, &error));
    EXPECT(released == 3);
    EXPECT(output.bytes_copied == 0);
    EXPECT(output.mask.release != NULL && output.mask.length == ROWS);
    EXPECT(output.array.length == ROWS / 2);
    struct unlade_receipt_figures figures;
    memset(&figures, 0, sizeof figures);
    figures.struct_size = sizeof figures;
    TRY(unlade_receipt_read(output.receipt, &figures, &error));
    EXPECT(figures.rows_in == ROWS && figures.rows_out == ROWS / 2 && figures.is_reference == 1);
    EXPECT(figures.host_cpu_ns == UNLADE_UNKNOWN_TIME);
    EXPECT(strstr(unlade_receipt_json(output.receipt), "\"rows_in\":4096") != NULL);
    unlade_output_release(&output);

    /* Numbers that are not aligned have to be copied, which is said, or refused. */
    char *unaligned = (char *)must_have(malloc(sizeof numbers + 1));
    memcpy(unaligned + 1, numbers, sizeof numbers);
    struct unlade_kernel *strict = compile(runtime, NULL, NULL, 0, &schema, UNLADE_ONLY_ALIGNED);
    for (int is_strict = 0; is_strict < 2; is_strict++) {
        make_batch(&batch, ROWS, 2, columns, &released);
        free((void *)batch.children[0]->buffers[1]);
        /* Released without it: it is freed below. */
        batch.children[0]->buffers[1] = unaligned + 1;
        batch.children[0]->release = release_all_but_values;
        struct unlade_error *why = NULL;
        enum unlade_code code = unlade_kernel_run(is_strict ? strict : some, &batch, NULL, &output, &why);
        EXPECT(code == (is_strict ? UNLADE_MALFORMED : UNLADE_OK));
        EXPECT(!is_strict || strstr(unlade_error_message(why), "not aligned to the width") != NULL);
        EXPECT(is_strict || output.bytes_copied == sizeof numbers);
        EXPECT(is_strict || output.array.length == ROWS / 2);
        unlade_output_release(&output);
        unlade_error_free(why);
    }
    free(unaligned);
    EXPECT(released == 5);

    unlade_kernel_free(strict);
    unlade_kernel_free(some);
    unlade_kernel_free(all);
    schema.release(&schema);
    unlade_runtime_free(runtime);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
