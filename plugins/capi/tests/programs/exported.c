/* Strings and dictionaries of pinned data, out and in again as C Device Data. The words are those of
 * `resident.c`. What another runtime copies from a GPU shows that addresses lead to what was pinned. */
#include "pinned.h"

enum { SKIPPED = 7, USED = 900, KINDS = 3, COLUMNS = 5, EXPORTED = 4 };

static uint8_t has_text[(ROWS + 7) / 8];
static int32_t ends[ROWS + 1];
static int64_t wide_ends[ROWS + 1];
static char texts[4 * ROWS];
static int8_t keys[ROWS];
static uint8_t views[ROWS][16];
static const int32_t kind_ends[KINDS + 1] = {0, 3, 3, 10};
static const char kinds[] = "bulkliquids";
static struct column given[COLUMNS] = {
    {"n", "i", -1, 2, {valid, numbers, NULL}, {sizeof valid, sizeof numbers, 0}},
    {"text", "u", -1, 3, {has_text, ends, texts}, {sizeof has_text, sizeof ends, 0}},
    {"wide", "U", 0, 3, {NULL, wide_ends, texts}, {0, sizeof wide_ends, 0}},
    {"kind", "c", -1, 2, {valid, keys, NULL}, {sizeof valid, sizeof keys, 0}},
    {"view", "vu", 0, 3, {NULL, views, NULL}, {0, sizeof views, 0}},
};
static const struct column values_of_kind = {
    "", "u", 0, 3, {NULL, kind_ends, kinds}, {0, sizeof kind_ends, sizeof kinds}};

static void make_given(void)
{
    make_columns();
    for (int row = 0; row < ROWS; row++) {
        int length = row % 4;
        if (row % 6 != 0)
            has_text[row / 8] |= (uint8_t)(1 << row % 8);
        for (int i = 0; i < length; i++)
            texts[ends[row] + i] = (char)('a' + (row + i) % 26);
        ends[row + 1] = ends[row] + length;
        wide_ends[row + 1] = ends[row + 1];
        keys[row] = (int8_t)(row % KINDS);
    }
    given[1].sizes[2] = given[2].sizes[2] = (size_t)ends[ROWS];
}

static void release_keys(struct ArrowArray *array)
{
    if (array->dictionary->release != NULL)
        array->dictionary->release(array->dictionary);
    free(array->dictionary);
    release_column(array);
}

/* So many of the columns, from the middle of these on. */
static void make(struct ArrowArray *batch, int count)
{
    make_batch(batch, ROWS, count, given, NULL);
    batch->offset = SKIPPED;
    batch->length = USED;
    struct ArrowArray *kind = batch->children[3], values;
    make_batch(&values, KINDS, 1, &values_of_kind, NULL);
    kind->dictionary = values.children[0];
    kind->release = release_keys;
    values.n_children = 0;
    values.release(&values);
}

static void release_keys_field(struct ArrowSchema *schema)
{
    schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    release_field(schema);
}

static void make_fields(struct ArrowSchema *schema, int count)
{
    make_schema(schema, count, given);
    struct ArrowSchema *kind = schema->children[3], values;
    make_schema(&values, 1, &values_of_kind);
    kind->dictionary = values.children[0];
    kind->release = release_keys_field;
    values.n_children = 0;
    values.release(&values);
}

/* A stream of one batch: how many columns it has, and whether it was given. */
struct one {
    int columns;
    int given;
};

static int get_fields(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    make_fields(out, ((struct one *)stream->private_data)->columns);
    return 0;
}

static int get_batch(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct one *one = (struct one *)stream->private_data;
    if (one->given++)
        out->release = NULL;
    else
        make(out, one->columns);
    return 0;
}

static void release_one(struct ArrowArrayStream *stream)
{
    stream->release = NULL;
}

static struct unlade_resident *pin_one(const struct unlade_runtime *runtime, const char *device, int count)
{
    struct one one = {count, 0};
    struct ArrowArrayStream input = {get_fields, get_batch, get_last_error, release_one, &one};
    struct unlade_pin_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.device = device;
    struct unlade_resident *resident;
    TRY(unlade_runtime_pin(runtime, &input, &options, &resident, &error));
    return resident;
}

static int is_null(const struct ArrowArray *array, int64_t row)
{
    const uint8_t *bits = (const uint8_t *)array->buffers[0];
    row += array->offset;
    return bits != NULL && !(bits[row / 8] >> row % 8 & 1);
}

/* A string of a column; of one with keys, of what these stand for. */
static const char *text_of(const struct ArrowArray *array, const char *format, int64_t row, int64_t *length)
{
    if (*format == 'c') {
        int8_t key = ((const int8_t *)array->buffers[1])[array->offset + row];
        return text_of(array->dictionary, "u", key, length);
    }
    row += array->offset;
    int64_t begin, end;
    if (*format == 'U') {
        begin = ((const int64_t *)array->buffers[1])[row];
        end = ((const int64_t *)array->buffers[1])[row + 1];
    } else {
        begin = ((const int32_t *)array->buffers[1])[row];
        end = ((const int32_t *)array->buffers[1])[row + 1];
    }
    *length = end - begin;
    return (const char *)array->buffers[2] + begin;
}

/* That two results are the same: numbers, and columns of strings behind them. */
static void must_be_same(const struct ArrowArray *one, const struct ArrowArray *other)
{
    EXPECT(one->length == other->length && one->n_children == EXPORTED && other->n_children == EXPORTED);
    EXPECT(sum(one) == sum(other));
    for (int i = 1; i < EXPORTED; i++) {
        const struct ArrowArray *a = one->children[i], *b = other->children[i];
        for (int64_t row = 0; row < one->length; row++) {
            EXPECT(is_null(a, row) == is_null(b, row));
            int64_t lengths[2];
            const char *x = text_of(a, given[i].format, row, &lengths[0]);
            const char *y = text_of(b, given[i].format, row, &lengths[1]);
            EXPECT(is_null(a, row) || (lengths[0] == lengths[1] && memcmp(x, y, (size_t)lengths[0]) == 0));
        }
    }
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    const char *named = words[2];
    ArrowDeviceType type = strcmp(words[1], "sim-gpu") == 0 ? ARROW_DEVICE_CUDA : ARROW_DEVICE_EXT_DEV;
    make_given();
    struct unlade_runtime *runtime = open_on(words[1], 0), *other = open_on(words[1], 0);
    if (type == ARROW_DEVICE_CUDA)
        load_driver();
    struct ArrowSchema schema;
    make_fields(&schema, EXPORTED);
    const char *filter = "n > 100", *select = "cast(n as bigint) * 3 as t, text, wide, kind";
    struct unlade_kernel *kernel = compile(runtime, NULL, &schema, filter, select);
    struct unlade_kernel *of_another = compile(other, NULL, &schema, filter, select);

    struct ArrowArray host;
    make(&host, EXPORTED);
    struct unlade_output wanted = wanting(0), output = wanting(UNLADE_WANT_RECEIPT);
    TRY(unlade_kernel_run(kernel, &host, NULL, &wanted, &error));
    EXPECT(wanted.array.length > 500 && wanted.array.length < USED);

    /* What the device has no use for is sent for others, once. */
    struct unlade_resident *resident = pin_one(runtime, named, EXPORTED);
    uint64_t before = status_of(resident).bytes_on_device;
    struct ArrowDeviceArray batch, again, result;
    TRY(unlade_resident_export(resident, 0, &batch, &error));
    uint64_t after = status_of(resident).bytes_on_device;
    EXPECT(after > before && status_of(resident).batches_on_device == 1);
    TRY(unlade_resident_export(resident, 0, &again, &error));
    EXPECT(status_of(resident).bytes_on_device == after);
    EXPECT(batch.device_type == type && batch.array.length == USED && batch.array.n_children == EXPORTED);
    for (int i = 0; i < EXPORTED; i++) {
        const struct ArrowArray *a = batch.array.children[i], *b = again.array.children[i];
        EXPECT(a->length == USED && a->offset == 0 && a->n_buffers == given[i].buffers);
        EXPECT((a->buffers[0] != NULL) == (a->null_count > 0) && (a->null_count > 0) == (i != 2));
        for (int64_t j = 0; j < a->n_buffers; j++)
            EXPECT(a->buffers[j] == b->buffers[j] && (uintptr_t)a->buffers[j] % 64 == 0);
        EXPECT((a->dictionary != NULL) == (*given[i].format == 'c'));
    }
    const struct ArrowArray *values = batch.array.children[3]->dictionary;
    EXPECT(values->length == KINDS && values->n_buffers == 3 && values->null_count == 0);
    EXPECT(values->buffers[2] == again.array.children[3]->dictionary->buffers[2]);

    /* Its own runtime runs on it where it is; another one copies it from a GPU. */
    TRY(unlade_kernel_run_device(kernel, &batch, &schema, &result, &output, &error));
    must_be_same(&result.array, &wanted.array);
    must_be_there(&output, &result.array, named, USED, wanted.array.length, sum(&wanted.array));
    result.array.release(&result.array);
    unlade_output_release(&output);
    struct unlade_error *error = NULL;
    enum unlade_code code = unlade_kernel_run_device(of_another, &again, NULL, &result, &output, &error);
    if (type == ARROW_DEVICE_CUDA) {
        EXPECT(code == UNLADE_OK && output.bytes_copied > sizeof numbers);
        must_be_same(&result.array, &wanted.array);
        result.array.release(&result.array);
        unlade_output_release(&output);
    } else {
        must_say(code, UNLADE_UNSUPPORTED, error, "unlade_resident_export");
    }

    /* One column with its dictionary outlives the rest. */
    struct ArrowDeviceArray kind;
    TRY(unlade_resident_export_column(resident, 0, 3, &kind, &error));
    unlade_resident_free(resident);
    if (context != NULL) {
        int32_t there[KINDS + 1];
        uint64_t at = (uint64_t)(uintptr_t)kind.array.dictionary->buffers[1];
        EXPECT(set_current(context) == 0 && download(there, at, sizeof there) == 0);
        EXPECT(memcmp(there, kind_ends, sizeof there) == 0);
    }
    kind.array.release(&kind.array);

    /* Views are nowhere but on the host. */
    resident = pin_one(runtime, named, COLUMNS);
    code = unlade_resident_export(resident, 0, &batch, &error);
    must_say(code, UNLADE_UNSUPPORTED, error, "column 4 of batch 0: Utf8View is neither of fixed width");
    TRY(unlade_resident_export_column(resident, 0, 2, &batch, &error));
    batch.array.release(&batch.array);
    unlade_resident_free(resident);

    unlade_output_release(&wanted);
    unlade_kernel_free(of_another);
    unlade_kernel_free(kernel);
    unlade_runtime_free(other);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    if (context != NULL)
        leave_driver();
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
