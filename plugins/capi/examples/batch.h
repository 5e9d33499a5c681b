/* Batches of Arrow's C Data Interface, made by hand. An engine has its own way to make them; the
 * examples and the tests have this one. Columns are copied into memory of exactly their size. */
#ifndef EXAMPLES_BATCH_H
#define EXAMPLES_BATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unlade.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Ends the program where a call fails, with the error in words. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        struct unlade_error *error = NULL;                                                         \
        enum unlade_code code = (call);                                                            \
        if (code > UNLADE_OK) {                                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, unlade_code_name(code),         \
                    unlade_error_message(error));                                                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Ends the program where something is not so. */
#define EXPECT(fact)                                                                               \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A column: its buffers are those of the format, the first one the bitmap of what is not null. */
struct column {
    const char *name;
    const char *format;
    int64_t null_count;
    int buffers;
    const void *bytes[3];
    size_t sizes[3];
};

static inline void *must_have(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static inline void *copy_of(const void *bytes, size_t size)
{
    void *copy = must_have(malloc(size > 0 ? size : 1));
    memcpy(copy, bytes, size);
    return copy;
}

static inline void release_column(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_buffers; i++)
        free((void *)array->buffers[i]);
    free(array->buffers);
    array->release = NULL;
}

static inline void release_batch(struct ArrowArray *array)
{
    if (array->private_data != NULL)
        __atomic_add_fetch((int *)array->private_data, 1, __ATOMIC_RELEASE);
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release != NULL)
            array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    free(array->children);
    free(array->buffers);
    array->release = NULL;
}

static inline void release_field(struct ArrowSchema *schema)
{
    free((void *)schema->format);
    free((void *)schema->name);
    schema->release = NULL;
}

static inline void release_fields(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release != NULL)
            schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    schema->release = NULL;
}

/* A batch of so many rows. Where `released` is not null, it is counted up when the batch is released. */
static inline void make_batch(struct ArrowArray *batch, int64_t rows, int columns,
                              const struct column *column, int *released)
{
    memset(batch, 0, sizeof *batch);
    batch->length = rows;
    batch->n_buffers = 1;
    batch->buffers = (const void **)must_have(calloc(1, sizeof(void *)));
    batch->n_children = columns;
    batch->children = (struct ArrowArray **)must_have(calloc(columns + 1, sizeof(void *)));
    batch->release = release_batch;
    batch->private_data = released;
    for (int i = 0; i < columns; i++) {
        struct ArrowArray *child = (struct ArrowArray *)must_have(calloc(1, sizeof *child));
        child->length = rows;
        child->null_count = column[i].null_count;
        child->n_buffers = column[i].buffers;
        child->buffers = (const void **)must_have(calloc(column[i].buffers, sizeof(void *)));
        for (int j = 0; j < column[i].buffers; j++)
            if (column[i].bytes[j] != NULL)
                child->buffers[j] = copy_of(column[i].bytes[j], column[i].sizes[j]);
        child->release = release_column;
        batch->children[i] = child;
    }
}

/* The schema of such batches. */
static inline void make_schema(struct ArrowSchema *schema, int columns, const struct column *column)
{
    memset(schema, 0, sizeof *schema);
    schema->format = "+s";
    schema->n_children = columns;
    schema->children = (struct ArrowSchema **)must_have(calloc(columns + 1, sizeof(void *)));
    schema->release = release_fields;
    for (int i = 0; i < columns; i++) {
        struct ArrowSchema *child = (struct ArrowSchema *)must_have(calloc(1, sizeof *child));
        child->format = (const char *)copy_of(column[i].format, strlen(column[i].format) + 1);
        child->name = (const char *)copy_of(column[i].name, strlen(column[i].name) + 1);
        child->flags = ARROW_FLAG_NULLABLE;
        child->release = release_field;
        schema->children[i] = child;
    }
}

/* A result to be filled, with what is wanted of it. */
static inline struct unlade_output wanting(uint32_t want)
{
    struct unlade_output output;
    memset(&output, 0, sizeof output);
    output.struct_size = sizeof output;
    output.want = want;
    return output;
}

#ifdef __cplusplus
}
#endif

#endif
