/* Arrays that are truncated and mutated at random: each is an error, or is computed on, and is
 * released once. What nobody can tell from the outside, as that memory is shorter than it should be,
 * is not done to them. The seed is the first word; it is printed where something fails. */
#include "batch.h"

enum { ROWS = 100 };

static uint64_t state;

static uint64_t below(uint64_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state * 0x2545F4914F6CDD1Du >> 33) % bound;
}

static int64_t odd_number(void)
{
    const int64_t odd[] = {-1, -2, INT64_MIN, INT64_MAX, INT64_MAX - 7, 1ll << 48, 1ll << 62, 0, 1, 2,
                           ROWS - 1};
    return odd[below(sizeof odd / sizeof *odd)];
}

/* The batch and its columns as they were, to be put back before they are released. */
enum { COLUMNS = 5, MOST_BUFFERS = 3 };
static struct ArrowArray batch_was, columns_were[COLUMNS];
static struct ArrowArray *children_were[COLUMNS];
static const void *buffers_were[COLUMNS][MOST_BUFFERS];
static void *ours;
static int released;

static void remember(const struct ArrowArray *batch)
{
    batch_was = *batch;
    for (int i = 0; i < COLUMNS; i++) {
        children_were[i] = batch->children[i];
        columns_were[i] = *batch->children[i];
        for (int j = 0; j < columns_were[i].n_buffers; j++)
            buffers_were[i][j] = columns_were[i].buffers[j];
    }
    ours = NULL;
    released = 0;
}

/* Puts back what was mutated, and releases the batch, from wherever it moved to. */
static void put_back_and_release(struct ArrowArray *batch)
{
    released++;
    free(ours);
    *batch = batch_was;
    for (int i = 0; i < COLUMNS; i++) {
        batch->children[i] = children_were[i];
        *children_were[i] = columns_were[i];
        for (int j = 0; j < columns_were[i].n_buffers; j++)
            columns_were[i].buffers[j] = buffers_were[i][j];
    }
    release_batch(batch);
}

/* Offsets of strings or lists that are wrong, in memory of the same size. */
static void *wrong_offsets(const void *offsets, int count, int width)
{
    char *wrong = (char *)copy_of(offsets, (size_t)count * width);
    int at = (int)below(count);
    int64_t values[] = {-1, INT32_MIN, 0, 5, 1};
    int64_t value = values[below(5)];
    if (at == count - 1 && value >= 0)
        value = -3; /* a last offset that is greater than the memory nobody can tell */
    if (width == 4)
        ((int32_t *)wrong)[at] = (int32_t)value;
    else
        ((int64_t *)wrong)[at] = value;
    return wrong;
}

static void mutate(struct ArrowArray *batch)
{
    struct ArrowArray *array = batch;
    int child = (int)below(batch->n_children + 1);
    if (child > 0)
        array = batch->children[child - 1];
    switch (below(11)) {
    case 0: {
        /* Longer than it is nobody can tell of a column, but of the batch. */
        int64_t length = odd_number();
        array->length = array != batch && length > ROWS && length <= 1ll << 48 ? -5 : length;
        break;
    }
    case 1:
        array->null_count = odd_number();
        break;
    case 2: {
        int64_t offset = odd_number();
        array->offset = offset > 0 && offset < ROWS ? INT64_MAX : offset;
        break;
    }
    case 3:
        array->n_buffers = odd_number();
        break;
    case 4:
        array->n_children = odd_number();
        break;
    case 5:
        array->buffers = NULL;
        break;
    case 6:
        if (array == batch)
            array->children = NULL;
        else
            array->children = batch->children, array->n_children = 1;
        break;
    case 7:
        array->dictionary = array;
        break;
    case 8:
        if (array != batch)
            array->release = NULL;
        break;
    case 9: {
        int buffer = (int)below(array->n_buffers);
        /* Strings and lists, in the order of the columns below. */
        int width = child == 3 ? 4 : child == 4 ? 8 : 0;
        if (width != 0 && buffer == 1 && below(2) == 0) {
            ours = wrong_offsets(array->buffers[buffer], ROWS + 1, width);
            array->buffers[buffer] = ours;
        } else {
            array->buffers[buffer] = NULL;
        }
        break;
    }
    default:
        if (array == batch) {
            batch->children[below(batch->n_children)] = NULL;
        } else {
            array->null_count = (int64_t)below(ROWS + 2);
        }
    }
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    uint64_t seed = strtoull(words[1], NULL, 10);
    long cases = strtol(words[2], NULL, 10);
    state = seed * 0x9E3779B97F4A7C15u + 1;

    static int32_t ints[ROWS];
    static double doubles[ROWS];
    static int32_t offsets[ROWS + 1];
    static int64_t long_offsets[ROWS + 1];
    static char text[ROWS * 2];
    static uint8_t valid[(ROWS + 7) / 8];
    memset(valid, 0xff, sizeof valid);
    valid[0] = 0xfd;
    memset(text, 'y', sizeof text);
    for (int row = 0; row < ROWS; row++) {
        ints[row] = row;
        doubles[row] = row / 2.0;
        offsets[row + 1] = 2 * (row + 1);
        long_offsets[row + 1] = 2 * (row + 1);
    }
    const struct column columns[] = {
        {"i", "i", 1, 2, {valid, ints, NULL}, {sizeof valid, sizeof ints, 0}},
        {"d", "g", 0, 2, {NULL, doubles, NULL}, {0, sizeof doubles, 0}},
        {"s", "u", 0, 3, {NULL, offsets, text}, {0, sizeof offsets, sizeof text}},
        {"l", "U", 1, 3, {valid, long_offsets, text}, {sizeof valid, sizeof long_offsets, sizeof text}},
        {"b", "b", 0, 2, {NULL, valid, NULL}, {0, sizeof valid, 0}},
    };
    struct ArrowSchema schema;
    make_schema(&schema, COLUMNS, columns);

    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = "cpu";
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text("i > 10 and d < 40", NULL, 0, &query, &error));
    struct unlade_kernel *kernels[2];
    for (int i = 0; i < 2; i++) {
        struct unlade_kernel_options how;
        memset(&how, 0, sizeof how);
        how.struct_size = sizeof how;
        how.check = i == 0 ? UNLADE_CHECK_OFFSETS : UNLADE_CHECK_VALUES;
        TRY(unlade_kernel_compile(runtime, NULL, query, &schema, &how, &kernels[i], &error));
    }

    long refused = 0;
    for (long at = 0; at < cases; at++) {
        struct ArrowArray batch;
        make_batch(&batch, ROWS, COLUMNS, columns, NULL);
        remember(&batch);
        mutate(&batch);
        batch.release = put_back_and_release;
        struct unlade_output output = wanting(0);
        struct unlade_error *error = NULL;
        enum unlade_code code = unlade_kernel_run(kernels[at % 2], &batch, NULL, &output, &error);
        if (code == UNLADE_OK)
            unlade_output_release(&output);
        else if (code == UNLADE_MALFORMED || code == UNLADE_SCHEMA)
            refused++;
        else {
            fprintf(stderr, "seed %s, case %ld: %s: %s\n", words[1], at, unlade_code_name(code),
                    unlade_error_message(error));
            return 1;
        }
        unlade_error_free(error);
        if (batch.release != NULL || released != 1) {
            fprintf(stderr, "seed %s, case %ld: released %d times\n", words[1], at, released);
            return 1;
        }
    }
    printf("%ld of %ld refused\n", refused, cases);
    unlade_kernel_free(kernels[0]);
    unlade_kernel_free(kernels[1]);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
