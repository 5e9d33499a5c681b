/* Files as Arrow streams: some of their columns, in batches of some size. The word is a file of `a`, an
 * integer of 32 bits, and `b`, one of 64. */
#include "batch.h"

int main(int count, char **words)
{
    EXPECT(count == 2);
    const char *paths[] = {words[1], words[1]};
    const char *columns[] = {"b"};
    struct unlade_scan_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.columns = columns;
    options.columns_count = 1;
    options.batch_rows = 1000;
    options.threads = 2;
    struct ArrowArrayStream stream;
    TRY(unlade_scan_open(paths, 2, &options, &stream, &error));
    struct ArrowSchema schema;
    EXPECT(stream.get_schema(&stream, &schema) == 0);
    EXPECT(schema.n_children == 1 && strcmp(schema.children[0]->name, "b") == 0);
    EXPECT(strcmp(schema.children[0]->format, "l") == 0);
    schema.release(&schema);
    long rows = 0;
    for (;;) {
        struct ArrowArray batch;
        EXPECT(stream.get_next(&stream, &batch) == 0);
        if (batch.release == NULL)
            break;
        EXPECT(batch.length <= 1000 && batch.n_children == 1);
        rows += batch.length;
        batch.release(&batch);
    }
    stream.release(&stream);
    printf("%ld rows\n", rows);

    struct unlade_error *error = NULL;
    columns[0] = "c";
    EXPECT(unlade_scan_open(paths, 2, &options, &stream, &error) == UNLADE_INVALID_ARGUMENT);
    EXPECT(strstr(unlade_error_message(error), "`c`") != NULL && stream.release == NULL);
    unlade_error_free(error);
    columns[0] = "a";
    options.flags = 1u << 9;
    EXPECT(unlade_scan_open(paths, 2, &options, &stream, NULL) == UNLADE_INVALID_ARGUMENT);
    options.flags = UNLADE_SCAN_MMAP;
    TRY(unlade_scan_open(paths, 1, &options, &stream, &error));
    stream.release(&stream);
    paths[0] = "/dev/null";
    EXPECT(unlade_scan_open(paths, 1, &options, &stream, &error) == UNLADE_INPUT);
    EXPECT(strstr(unlade_error_message(error), "/dev/null") != NULL);
    unlade_error_free(error);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
