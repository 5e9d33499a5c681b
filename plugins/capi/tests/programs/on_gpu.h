/* Batches in the memory of the simulated GPU, whose driver has CUDA's functions. */
#ifndef ON_GPU_H
#define ON_GPU_H

#include <dlfcn.h>

#include "batch.h"

/* CUDA's, by the names in its library. */
static int (*retain)(void **context, int device);
static int (*release_context)(int device);
static int (*set_current)(void *context);
static int (*allocate)(uint64_t *address, size_t bytes);
static int (*free_memory)(uint64_t address);
static int (*upload)(uint64_t to, const void *from, size_t bytes);
static int (*download)(void *to, uint64_t from, size_t bytes);
static int (*create_event)(void **event, unsigned flags);
static int (*record_event)(void *event, void *stream);
static int (*destroy_event)(void *event);

static void find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    EXPECT(found != NULL);
    memcpy(function, &found, sizeof found);
}

static void *context;
/* Whether the GPU may have been reset meanwhile, of which no memory is left then. */
static int is_lost;

static inline void load_driver(void)
{
    /* unlade_runtime_open has loaded it. */
    void *library = dlopen(getenv("UNLADE_SIM_GPU_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
    EXPECT(library != NULL);
    find(library, "cuDevicePrimaryCtxRetain", &retain);
    find(library, "cuDevicePrimaryCtxRelease_v2", &release_context);
    find(library, "cuCtxSetCurrent", &set_current);
    find(library, "cuMemAlloc_v2", &allocate);
    find(library, "cuMemFree_v2", &free_memory);
    find(library, "cuMemcpyHtoD_v2", &upload);
    find(library, "cuMemcpyDtoH_v2", &download);
    find(library, "cuEventCreate", &create_event);
    find(library, "cuEventRecord", &record_event);
    find(library, "cuEventDestroy_v2", &destroy_event);
    EXPECT(retain(&context, 0) == 0 && set_current(context) == 0);
}

/* As if it had not been loaded. */
static inline void leave_driver(void)
{
    EXPECT(set_current(NULL) == 0 && release_context(0) == 0);
}

static inline void release_on_gpu(struct ArrowArray *array)
{
    EXPECT(set_current(context) == 0);
    for (int64_t i = 0; i < array->n_buffers; i++)
        EXPECT(array->buffers[i] == NULL || free_memory((uint64_t)(uintptr_t)array->buffers[i]) == 0
               || is_lost);
    free(array->buffers);
    array->release = NULL;
}

/* Moves a batch's buffers to the GPU, each to an allocation of exactly its size. */
static inline void move_to_gpu(struct ArrowArray *batch, const struct column *columns)
{
    for (int64_t i = 0; i < batch->n_children; i++) {
        struct ArrowArray *column = batch->children[i];
        for (int64_t j = 0; j < column->n_buffers; j++) {
            if (column->buffers[j] == NULL)
                continue;
            uint64_t there;
            EXPECT(allocate(&there, columns[i].sizes[j]) == 0);
            EXPECT(upload(there, column->buffers[j], columns[i].sizes[j]) == 0);
            free((void *)column->buffers[j]);
            column->buffers[j] = (const void *)(uintptr_t)there;
        }
        column->release = release_on_gpu;
    }
}

/* A runtime with these devices, and how long one may take. 0: as it usually is. */
static inline void open_runtime(const char *devices, uint64_t device_timeout_ms, struct unlade_runtime **runtime)
{
    struct unlade_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.devices = devices;
    options.device_timeout_ms = device_timeout_ms;
    TRY(unlade_runtime_open(&options, runtime, &error));
}

static struct unlade_kernel *compile(const struct unlade_runtime *runtime,
                                     const struct unlade_session *session,
                                     const struct ArrowSchema *schema, const char *filter,
                                     const char *select)
{
    struct unlade_query *query;
    TRY(unlade_query_text(filter, select, 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, session, query, schema, NULL, &kernel, &error));
    unlade_query_free(query);
    return kernel;
}

#endif
