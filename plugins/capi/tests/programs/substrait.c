/* A query that pyarrow has serialised, from the file that is the word: `a > 100` on an integer column. */
#include "batch.h"

int main(int count, char **words)
{
    EXPECT(count == 2);
    FILE *file = fopen(words[1], "rb");
    EXPECT(file != NULL);
    unsigned char room[4096];
    size_t size = fread(room, 1, sizeof room, file);
    fclose(file);
    EXPECT(size > 0 && size < sizeof room);
    /* In memory of its own size, so that nothing beyond it is read unseen. */
    unsigned char *bytes = (unsigned char *)copy_of(room, size);

    const int32_t numbers[] = {99, 100, 101, 102};
    const struct column column = {"a", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu";
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    const int64_t rows[] = {2, 4};
    const uint32_t forms[] = {UNLADE_SUBSTRAIT_FILTER, UNLADE_SUBSTRAIT_PROJECTION};
    for (int i = 0; i < 2; i++) {
        struct unlade_query *query;
        TRY(unlade_query_substrait(bytes, size, forms[i], &query, &error));
        struct unlade_kernel *kernel;
        TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));
        struct ArrowArray batch;
        make_batch(&batch, 4, 1, &column, NULL);
        struct unlade_output output = wanting(UNLADE_WANT_SCHEMA);
        TRY(unlade_kernel_run(kernel, &batch, NULL, &output, &error));
        EXPECT(output.array.length == rows[i]);
        EXPECT(strcmp(output.schema.children[0]->format, i == 0 ? "i" : "b") == 0);
        unlade_output_release(&output);
        unlade_kernel_free(kernel);
        unlade_query_free(query);
    }

    struct unlade_query *query;
    EXPECT(unlade_query_substrait(bytes, size, 9, &query, NULL) == UNLADE_INVALID_ARGUMENT);
    EXPECT(unlade_query_substrait(NULL, size, 0, &query, NULL) == UNLADE_INVALID_ARGUMENT);
    const uint8_t none[] = {0xff, 0xff, 0xff, 0xff, 0x07};
    EXPECT(unlade_query_substrait(none, sizeof none, 0, &query, NULL) == UNLADE_MALFORMED);
    long refused = 0;
    for (size_t shorter = 0; shorter < size; shorter++) {
        unsigned char *cut = (unsigned char *)copy_of(bytes, shorter);
        struct unlade_error *error = NULL;
        enum unlade_code code = unlade_query_substrait(cut, shorter, 0, &query, &error);
        EXPECT(code == UNLADE_OK || code == UNLADE_EXPRESSION || code == UNLADE_MALFORMED);
        EXPECT((code == UNLADE_OK) == (error == NULL && query != NULL));
        refused += code != UNLADE_OK;
        unlade_query_free(query);
        unlade_error_free(error);
        free(cut);
    }
    EXPECT(refused > (long)size / 2);
    free(bytes);
    schema.release(&schema);
    unlade_runtime_free(runtime);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
