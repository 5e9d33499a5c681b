/* Batches that are pinned: what they are, how they get there, and what becomes of them. */
#ifndef PINNED_H
#define PINNED_H

#include "on_gpu.h"

enum { ROWS = 1003, BATCHES = 3 };

static int32_t numbers[ROWS];
static uint8_t valid[(ROWS + 7) / 8];
static uint8_t flags[(ROWS + 7) / 8];
static int32_t offsets[ROWS + 1];
static char letters[ROWS];
static int64_t nulls;
static struct column columns[] = {
    {"n", "i", -1, 2, {valid, numbers, NULL}, {sizeof valid, sizeof numbers, 0}},
    {"flag", "b", 0, 2, {NULL, flags, NULL}, {0, sizeof flags, 0}},
    {"s", "u", 0, 3, {NULL, offsets, letters}, {0, sizeof offsets, sizeof letters}},
};

static inline void make_columns(void)
{
    for (int row = 0; row < ROWS; row++) {
        numbers[row] = row * 7 % 1000;
        if (row % 5 != 0)
            valid[row / 8] |= (uint8_t)(1 << row % 8);
        else
            nulls++;
        if (row % 3 == 0)
            flags[row / 8] |= (uint8_t)(1 << row % 8);
        letters[row] = (char)('a' + row % 26);
        offsets[row + 1] = row + 1;
    }
}

/* Batches for a stream, with so many columns. */
struct source {
    int columns;
    int given;
    int fails_at;
    int released;
    int arrays_released;
};

static inline int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    make_schema(out, ((struct source *)stream->private_data)->columns, columns);
    return 0;
}

static inline int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct source *source = (struct source *)stream->private_data;
    if (source->given == source->fails_at)
        return 5;
    if (source->given == BATCHES) {
        out->release = NULL;
        return 0;
    }
    make_batch(out, ROWS, source->columns, columns, &source->arrays_released);
    source->given++;
    return 0;
}

static inline const char *get_last_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "the disk is on fire";
}

static inline void release_stream(struct ArrowArrayStream *stream)
{
    ((struct source *)stream->private_data)->released++;
    stream->release = NULL;
}

static inline struct ArrowArrayStream stream_of(struct source *source, int columns)
{
    memset(source, 0, sizeof *source);
    source->columns = columns;
    source->fails_at = -1;
    struct ArrowArrayStream stream = {get_schema, get_next, get_last_error, release_stream, source};
    return stream;
}

/* A runtime that runs queries on this device. */
static inline struct unlade_runtime *open_on(const char *device, uint32_t flags)
{
    char devices[40];
    snprintf(devices, sizeof devices, "cpu,%s", device);
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = devices;
    options.placement = device;
    options.flags = flags;
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    return runtime;
}

static inline enum unlade_code pin(const struct unlade_runtime *runtime, const char *device,
                                   struct source *source, struct unlade_resident **resident,
                                   struct unlade_error **error)
{
    struct ArrowArrayStream input = {get_schema, get_next, get_last_error, release_stream, source};
    struct unlade_pin_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.device = device;
    enum unlade_code code = unlade_runtime_pin(runtime, &input, &options, resident, error);
    EXPECT(input.release == NULL && source->released == 1);
    return code;
}

static inline struct unlade_resident *pinned(const struct unlade_runtime *runtime, const char *device,
                                             int columns, struct source *source)
{
    struct unlade_resident *resident;
    stream_of(source, columns);
    TRY(pin(runtime, device, source, &resident, &error));
    return resident;
}

static inline struct unlade_resident_status status_of(const struct unlade_resident *resident)
{
    struct unlade_resident_status status;
    memset(&status, 0, sizeof status);
    status.struct_size = sizeof status;
    TRY(unlade_resident_read(resident, &status, &error));
    return status;
}

/* That a call was refused so, and says why. */
static inline void must_say(enum unlade_code code, enum unlade_code wanted, struct unlade_error *error,
                            const char *said)
{
    if (code != wanted || strstr(unlade_error_message(error), said) == NULL) {
        fprintf(stderr, "%s: %s\n", unlade_code_name(code), unlade_error_message(error));
        exit(1);
    }
    unlade_error_free(error);
}

/* The sum of a result's first column. */
static inline int64_t sum(const struct ArrowArray *result)
{
    const struct ArrowArray *t = result->children[0];
    int64_t sum = 0;
    for (int64_t row = 0; row < result->length; row++)
        sum += ((const int64_t *)t->buffers[1])[t->offset + row];
    return sum;
}

/* That a result is as it should be, and was computed on the device, to which nothing was sent. */
static inline void must_be_there(struct unlade_output *output, const struct ArrowArray *array,
                                 const char *device, uint64_t rows_in, int64_t rows, int64_t wanted)
{
    EXPECT(array->length == rows && sum(array) == wanted);
    EXPECT(output->bytes_copied == 0);
    struct unlade_receipt_figures figures;
    memset(&figures, 0, sizeof figures);
    figures.struct_size = sizeof figures;
    TRY(unlade_receipt_read(output->receipt, &figures, &error));
    EXPECT(figures.rows_in == rows_in && figures.parts == 1 && figures.bytes_to_device == 0);
    struct unlade_receipt_part_figures part;
    memset(&part, 0, sizeof part);
    part.struct_size = sizeof part;
    TRY(unlade_receipt_part(output->receipt, 0, &part, &error));
    EXPECT(strcmp(part.device, device) == 0 && strcmp(part.reason, "the data is there") == 0);
}

/* That addresses lead to what was pinned, where there is a driver to ask. */
static inline void must_lead_to(const struct ArrowArray *column, const struct column *was)
{
    static char there[sizeof numbers];
    for (int i = 0; i < 2; i++) {
        EXPECT((column->buffers[i] != NULL) == (was->bytes[i] != NULL));
        if (column->buffers[i] == NULL)
            continue;
        EXPECT((uintptr_t)column->buffers[i] % 64 == 0);
        if (context == NULL)
            continue;
        EXPECT(set_current(context) == 0);
        EXPECT(download(there, (uint64_t)(uintptr_t)column->buffers[i], was->sizes[i]) == 0);
        EXPECT(memcmp(there, was->bytes[i], was->sizes[i]) == 0);
    }
}

#endif
