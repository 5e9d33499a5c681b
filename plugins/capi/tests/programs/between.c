/* A driver in front of the simulated one, which is behind it under another name: what is not here is found
 * there. It has events that are not reached and calls that fail, as a test says, and as much memory as
 * `BETWEEN_MEMORY` does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_READY = 600, ILLEGAL_ADDRESS = 700 };

/* The event that is held back, and how often it was asked for. */
static void *held;
static uint64_t asked;
/* How many calls of each still succeed before one fails; never where it is 0. */
static int64_t attributes, copies;

void between_hold(void *event)
{
    if (event != NULL)
        __atomic_store_n(&asked, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&held, event, __ATOMIC_SEQ_CST);
}

uint64_t between_asked(void)
{
    return __atomic_load_n(&asked, __ATOMIC_SEQ_CST);
}

void between_fail(int64_t attribute, int64_t copy)
{
    __atomic_store_n(&attributes, attribute, __ATOMIC_SEQ_CST);
    __atomic_store_n(&copies, copy, __ATOMIC_SEQ_CST);
}

static void behind(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

static int fails(int64_t *left)
{
    return __atomic_load_n(left, __ATOMIC_SEQ_CST) > 0
           && __atomic_sub_fetch(left, 1, __ATOMIC_SEQ_CST) == 0;
}

/* By this one it is looked whose a driver's functions are. */
int cuInit(unsigned flags)
{
    int (*init)(unsigned);
    behind("cuInit", &init);
    return init(flags);
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    int (*total)(size_t *, int);
    behind("cuDeviceTotalMem_v2", &total);
    int code = total(bytes, device);
    const char *said = getenv("BETWEEN_MEMORY");
    if (code == 0 && said != NULL)
        *bytes = strtoul(said, NULL, 10);
    return code;
}

int cuEventQuery(void *event)
{
    int (*query)(void *);
    if (event != NULL && event == __atomic_load_n(&held, __ATOMIC_SEQ_CST)) {
        __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
        return NOT_READY;
    }
    behind("cuEventQuery", &query);
    return query(event);
}

int cuPointerGetAttribute(void *data, int attribute, uint64_t address)
{
    int (*get)(void *, int, uint64_t);
    if (fails(&attributes))
        return ILLEGAL_ADDRESS;
    behind("cuPointerGetAttribute", &get);
    return get(data, attribute, address);
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream)
{
    int (*copy)(void *, uint64_t, size_t, void *);
    if (fails(&copies))
        return ILLEGAL_ADDRESS;
    behind("cuMemcpyDtoHAsync_v2", &copy);
    return copy(to, from, bytes, stream);
}
