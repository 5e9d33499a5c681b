/* Unlade: Arrow batches and an expression on the best device present, with the same bits whichever
 * that is. docs/C.md is the guide; this is the reference.
 *
 * Made from the sources of plugins/capi: `cargo xtask header --update`.
 *
 * What holds everywhere:
 * - A function that can fail returns a code, and gives an error object where its last argument is not
 *   null: null in its place says that there is none. Who gets one frees it.
 * - What a call makes is null, or released, where the call fails.
 * - A handle is looked up, never followed: one that was freed, or is of another kind, is
 *   UNLADE_INVALID_HANDLE. Handles may be used by several threads at once.
 * - `_free` takes null.
 * - ArrowArray and ArrowArrayStream are handed over: whatever comes of the call they are marked as
 *   released, and released once. ArrowSchema is read and stays the caller's.
 * - Structs with a `struct_size` are set to 0 first, and that field to their size.
 * - In a forked child everything is UNLADE_FORKED. */

#ifndef UNLADE_H
#define UNLADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

#ifndef ARROW_C_DEVICE_DATA_INTERFACE
#define ARROW_C_DEVICE_DATA_INTERFACE

typedef int32_t ArrowDeviceType;

#define ARROW_DEVICE_CPU 1
#define ARROW_DEVICE_CUDA 2
#define ARROW_DEVICE_CUDA_HOST 3
#define ARROW_DEVICE_EXT_DEV 12
#define ARROW_DEVICE_CUDA_MANAGED 13

struct ArrowDeviceArray {
    struct ArrowArray array;
    int64_t device_id;
    ArrowDeviceType device_type;
    void *sync_event;
    int64_t reserved[3];
};

#endif /* ARROW_C_DEVICE_DATA_INTERFACE */

/**
 * Bytes of the message of a function that fails, with the zero byte at its end.
 */
#define UNLADE_FUNCTION_MESSAGE 512

/**
 * Of `unlade_kernel_options.check` and of `unlade_pin_options`: arrays that are handed over are looked
 * at as far as memory depends on it: lengths, counts, pointers, each offset, each view, counts of nulls.
 */
#define UNLADE_CHECK_OFFSETS 0

/**
 * Of `unlade_kernel_options.check` and of `unlade_pin_options`: only what does not grow with the rows is
 * looked at: a wrong offset in the middle of a column is undefined behaviour. For arrays of one's own making.
 */
#define UNLADE_CHECK_SHAPE 1

/**
 * Of `unlade_kernel_options.check` and of `unlade_pin_options`: UTF-8 and keys of dictionaries are looked at
 * as well.
 */
#define UNLADE_CHECK_VALUES 2

/**
 * Of `unlade_kernel_options.overflow` and `cast`: as the rules have it.
 */
#define UNLADE_ON_ERROR_DEFAULT 0

/**
 * Of `unlade_kernel_options.overflow` and `cast`: the batch fails, naming the row.
 */
#define UNLADE_ON_ERROR_TRAP 1

/**
 * Of `unlade_kernel_options.cast`: the row becomes null.
 */
#define UNLADE_ON_ERROR_NULL 2

/**
 * Of `unlade_kernel_options.overflow`: integers keep their low bits.
 */
#define UNLADE_ON_ERROR_WRAP 3

/**
 * Of `unlade_kernel_options.flags` and of `unlade_pin_options`: values that are not aligned to their width
 * are an error, rather than copied and counted, in `unlade_output.bytes_copied` or
 * `unlade_resident_status.bytes_copied`.
 */
#define UNLADE_ONLY_ALIGNED 1

/**
 * A level of the log: nothing is told.
 */
#define UNLADE_LOG_OFF 0

/**
 * A level of the log: something failed.
 */
#define UNLADE_LOG_ERROR 1

/**
 * A level of the log: something is not as it should be, and was coped with.
 */
#define UNLADE_LOG_WARN 2

/**
 * A level of the log: what one may want to know.
 */
#define UNLADE_LOG_INFO 3

/**
 * A level of the log: what helps to find a fault.
 */
#define UNLADE_LOG_DEBUG 4

/**
 * A level of the log: everything.
 */
#define UNLADE_LOG_TRACE 5

/**
 * Of `unlade_output.want`: the schema beside the array.
 */
#define UNLADE_WANT_SCHEMA 1

/**
 * Of `unlade_output.want`: the receipt.
 */
#define UNLADE_WANT_RECEIPT 2

/**
 * Of `unlade_query_text`: results have the mask of rows that are kept beside their columns, in
 * `unlade_output.mask`.
 */
#define UNLADE_QUERY_MASK 1

/**
 * Of `unlade_query_text`: results are the mask alone; `select` is null.
 */
#define UNLADE_QUERY_MASK_ONLY 2

/**
 * Of `unlade_query_substrait`: the message's one expression says which rows to keep.
 */
#define UNLADE_SUBSTRAIT_FILTER 0

/**
 * Of `unlade_query_substrait`: the message's expressions are the columns to put out, of every row.
 */
#define UNLADE_SUBSTRAIT_PROJECTION 1

/**
 * A time that is not known.
 */
#define UNLADE_UNKNOWN_TIME UINT64_MAX

/**
 * Of `unlade_runtime_options.flags`: what the chosen device lacks is an error, rather than done by
 * another one.
 */
#define UNLADE_NO_FALLBACK 1

/**
 * Of `unlade_runtime_options.flags`: what devices give back is copied and checked before it is
 * used.
 */
#define UNLADE_UNTRUSTED 2

/**
 * Of `unlade_runtime_options.flags`: receipts have predictions, even where there is nothing to
 * choose.
 */
#define UNLADE_PREDICTIONS 4

/**
 * Of `unlade_runtime_options.flags`: receipts have the host's CPU time.
 */
#define UNLADE_HOST_CPU 8

/**
 * Of `unlade_scan_options.flags`: files are mapped rather than read, and must not change.
 */
#define UNLADE_SCAN_MMAP 1

/**
 * Of `unlade_session_options.priority`.
 */
#define UNLADE_PRIORITY_NORMAL 0

/**
 * Of `unlade_session_options.priority`: after all others.
 */
#define UNLADE_PRIORITY_BACKGROUND -1

/**
 * Of `unlade_session_options.priority`: before all others.
 */
#define UNLADE_PRIORITY_INTERACTIVE 1

/**
 * Of the ABI: another number is another ABI, and another name of the shared library.
 */
#define UNLADE_ABI_MAJOR 0

/**
 * Of the ABI: it grows where functions, or fields of structs, came to it.
 */
#define UNLADE_ABI_MINOR 2

/**
 * What became of a call. Zero is done, positive is an error, negative is neither.
 */
typedef enum unlade_code {
    /**
     * Of a ticket: its result is not there yet.
     */
    UNLADE_PENDING = -2,
    /**
     * Of a stream: it is at its end.
     */
    UNLADE_END = -1,
    /**
     * Done.
     */
    UNLADE_OK = 0,
    /**
     * An argument is null that must not be, has a value that is none of its values, or is text
     * that is not UTF-8.
     */
    UNLADE_INVALID_ARGUMENT = 1,
    /**
     * A handle was freed, was never given out, or is of another kind.
     */
    UNLADE_INVALID_HANDLE = 2,
    /**
     * A query is refused: syntax, names, types, limits.
     */
    UNLADE_EXPRESSION = 3,
    /**
     * A row has no result: overflow, division by zero, a cast. `unlade_error_row` tells which.
     */
    UNLADE_DATA = 4,
    /**
     * A batch is not of the schema that its kernel was compiled for.
     */
    UNLADE_SCHEMA = 5,
    /**
     * An Arrow struct, or bytes, break the rules of their format.
     */
    UNLADE_MALFORMED = 6,
    /**
     * The memory budget is used up.
     */
    UNLADE_EXHAUSTED = 7,
    /**
     * No device that may run it can, or this build lacks what is asked for.
     */
    UNLADE_UNSUPPORTED = 8,
    /**
     * A device failed, and nothing else was allowed to take its work.
     */
    UNLADE_DEVICE_FAULT = 9,
    /**
     * Cancelled, by itself or with its session.
     */
    UNLADE_CANCELLED = 10,
    /**
     * The deadline of the session has passed.
     */
    UNLADE_DEADLINE = 11,
    /**
     * The session cannot have the devices that it asks for.
     */
    UNLADE_REFUSED = 12,
    /**
     * The runtime was shut down.
     */
    UNLADE_SHUTDOWN = 13,
    /**
     * This process is a forked child of one that had used Unlade before.
     */
    UNLADE_FORKED = 14,
    /**
     * Something is larger or more than a limit allows.
     */
    UNLADE_LIMIT = 15,
    /**
     * What feeds a stream failed, or a file cannot be read.
     */
    UNLADE_INPUT = 16,
    /**
     * A runtime or a session cannot be as it was asked for.
     */
    UNLADE_CONFIG = 17,
    /**
     * A bug in Unlade: please report it with its message.
     */
    UNLADE_INTERNAL = 18,
} unlade_code;

/**
 * The devices of a runtime, as they were when they were asked for.
 */
typedef struct unlade_devices unlade_devices;

/**
 * Why a call failed: a code and a message in words.
 */
typedef struct unlade_error unlade_error;

/**
 * A query compiled for batches of one schema. It runs on any number of batches, from any number of
 * threads at once.
 */
typedef struct unlade_kernel unlade_kernel;

/**
 * A predicate and what to put out of the rows that it keeps. It belongs to no runtime.
 */
typedef struct unlade_query unlade_query;

/**
 * What became of a batch.
 */
typedef struct unlade_receipt unlade_receipt;

/**
 * Batches that stay in a device's memory across calls, and on the host as well. They leave both when
 * the handle is freed and nothing that was exported of them is left.
 */
typedef struct unlade_resident unlade_resident;

/**
 * Devices, memory and threads, shared by all kernels that are compiled with it. It ends with the
 * last handle, kernel, ticket, stream and result.
 */
typedef struct unlade_runtime unlade_runtime;

/**
 * One who shares a runtime with others, with a share of devices, a budget and a deadline of its
 * own. It ends with the last handle, kernel, ticket and stream.
 */
typedef struct unlade_session unlade_session;

/**
 * The results of a kernel over a stream, one for each of its batches, in their order.
 */
typedef struct unlade_stream unlade_stream;

/**
 * The result of a batch that was submitted, when it is there.
 */
typedef struct unlade_ticket unlade_ticket;

/**
 * A result. Set `struct_size` and `want` before a call; the call sets all else, also where it fails.
 * What is in it is the caller's: to release part by part, or by `unlade_output_release`, or to move
 * on, as the C Data Interface has it: by a copy of the struct, after which `release`, or `receipt`,
 * is set to null here.
 */
typedef struct unlade_output {
    /**
     * `sizeof(struct unlade_output)`.
     */
    size_t struct_size;
    /**
     * `UNLADE_WANT_SCHEMA` and others, added.
     */
    uint32_t want;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * The query's columns, as a struct, for the rows that it keeps. It may have memory in it of the
     * batch that was handed over, which is released with it then.
     */
    struct ArrowArray array;
    /**
     * Its schema, if that is wanted; else it is released. `unlade_kernel_schema` gives the same one.
     */
    struct ArrowSchema schema;
    /**
     * Which rows were kept, as booleans, where the query asks for it; else it is released.
     */
    struct ArrowArray mask;
    /**
     * What ran where, and what it cost, if that is wanted; else null.
     */
    struct unlade_receipt *receipt;
    /**
     * Bytes that were copied as the batch came in and the result went out: of values that lay less
     * aligned than their width, and bitmaps of nulls that began at another bit than the values. 0
     * says that columns were read where they were, and are put out where they were computed.
     */
    uint64_t bytes_copied;
} unlade_output;

/**
 * A device. Set `struct_size` to its size. Texts live until the list is freed.
 */
typedef struct unlade_device {
    /**
     * `sizeof(struct unlade_device)`.
     */
    size_t struct_size;
    /**
     * Its name: `cpu`, `cuda:0`.
     */
    const char *name;
    /**
     * `cpu`, `gpu`, `dpu` or `simulator`.
     */
    const char *kind;
    /**
     * Its vendor's name for it.
     */
    const char *description;
    /**
     * Its PCI address or the like; null where there is none.
     */
    const char *address;
    /**
     * `ready`, `on_trial`, `resting`, `reviving` or `lost`.
     */
    const char *state;
    /**
     * Memory of its own in bytes; 0 where it uses the host's.
     */
    uint64_t memory;
    /**
     * Bytes of batches that are kept in its memory.
     */
    uint64_t resident_bytes;
    /**
     * Failures since it last worked.
     */
    uint32_t failures;
    /**
     * Work on it at the moment.
     */
    uint32_t in_flight;
} unlade_device;

/**
 * Why a function has no result, filled by the function.
 */
typedef struct unlade_function_failure {
    /**
     * The row that has none, counted from 0 in the arrays that it was given; -1, as it comes, where it is
     * no one row.
     */
    int64_t row;
    /**
     * Why, in UTF-8, with a zero byte at its end. It comes empty.
     */
    char message[UNLADE_FUNCTION_MESSAGE];
} unlade_function_failure;

/**
 * Computes a function: 0 where `result` is filled, anything else where `failure` says why it is not.
 *
 * `arguments` are `count` arrays of `rows` rows each, of the types that the function was registered with,
 * which `types` has as a struct of them, to be read. They are on the memory where Unlade has them, and are
 * not to be written. A function may move one out, as Arrow has it, and then releases it itself; what it
 * leaves is released when it returns.
 *
 * `result` comes as all 0. What the function puts there is handed over: an array of `rows` rows of the
 * type that it was registered with. It is looked at as `UNLADE_CHECK_VALUES` says.
 *
 * It must be pure: equal calls are done once, and a batch is sometimes done again. It is called by several
 * threads at once, must not throw or jump, and may call Unlade, but not wait for other results of the
 * same runtime.
 */
typedef int (*unlade_function_call)(void *user,
                                    const struct ArrowSchema *types,
                                    struct ArrowArray *arguments,
                                    size_t count,
                                    int64_t rows,
                                    struct ArrowArray *result,
                                    struct unlade_function_failure *failure);

/**
 * Called once, when nothing calls the function any more: by any thread.
 */
typedef void (*unlade_function_release)(void *user);

/**
 * A function for queries to call. Set all of it to 0, and `struct_size` to its size.
 */
typedef struct unlade_function {
    /**
     * `sizeof(struct unlade_function)`.
     */
    size_t struct_size;
    /**
     * What it is called: letters of ASCII, digits and `_`. Words of the language are taken.
     */
    const char *name;
    /**
     * The types of its arguments, as a struct of one field for each. Read, and not released.
     */
    const struct ArrowSchema *arguments;
    /**
     * The type of its result; without `ARROW_FLAG_NULLABLE` no result is ever null. Columns that are
     * results as they came have its metadata: an extension type, say. Read, and not released.
     */
    const struct ArrowSchema *result;
    /**
     * What computes it.
     */
    unlade_function_call call;
    /**
     * Handed to `call` and `release`.
     */
    void *user;
    /**
     * Called when nothing calls the function any more. Null: nothing is.
     */
    unlade_function_release release;
} unlade_function;

/**
 * How a query is compiled. Set all of it to 0, and `struct_size` to its size.
 */
typedef struct unlade_kernel_options {
    /**
     * `sizeof(struct unlade_kernel_options)`.
     */
    size_t struct_size;
    /**
     * Whose rules hold: `arrow`, `datafusion`, `spark-legacy` or `spark-ansi`. Null: `arrow`.
     */
    const char *semantics;
    /**
     * What becomes of integers that overflow: `UNLADE_ON_ERROR_TRAP` or `_WRAP`.
     */
    uint32_t overflow;
    /**
     * What becomes of values that a cast cannot hold: `UNLADE_ON_ERROR_TRAP` or `_NULL`.
     */
    uint32_t cast;
    /**
     * How arrays are looked at that are handed over: `UNLADE_CHECK_OFFSETS` or another one.
     */
    uint32_t check;
    /**
     * `UNLADE_ONLY_ALIGNED`, or 0.
     */
    uint32_t flags;
} unlade_kernel_options;

/**
 * Called with each message: its level, the part of the library that it is of, such as
 * `unlade_runtime::runtime`, and the words. Texts end with the call. It may be called by several
 * threads at once, must not call Unlade, and must not throw, nor jump.
 */
typedef void (*unlade_log)(void *user, int32_t level, const char *target, const char *message);

/**
 * Memory of a runtime, in bytes. Set `struct_size` to its size. While threads lease and return it,
 * figures may disagree by what happened meanwhile. `unlade_runtime_status_json` tells who holds it.
 */
typedef struct unlade_memory {
    /**
     * `sizeof(struct unlade_memory)`.
     */
    size_t struct_size;
    /**
     * Pinned memory that was reserved at the start.
     */
    uint64_t reserve;
    /**
     * Most that may be in use.
     */
    uint64_t budget;
    /**
     * Of the reserve, what anybody can have.
     */
    uint64_t free;
    /**
     * What threads keep for their next batch.
     */
    uint64_t cached;
    /**
     * What is leased: 0 when all that was given out is back.
     */
    uint64_t leased;
    /**
     * Of that, results that were not released.
     */
    uint64_t exported;
    /**
     * Of that, memory beyond the reserve.
     */
    uint64_t beyond_reserve;
    /**
     * How often memory beyond the reserve was allocated.
     */
    uint64_t beyond_reserve_count;
    /**
     * The most that was leased or cached at once.
     */
    uint64_t peak;
    /**
     * Requests that wait at the moment.
     */
    uint64_t waiting;
} unlade_memory;

/**
 * What a receipt says of a batch, in rows, bytes and nanoseconds; docs/RECEIPTS.md has every field.
 * Set `struct_size` to its size.
 */
typedef struct unlade_receipt_figures {
    /**
     * `sizeof(struct unlade_receipt_figures)`.
     */
    size_t struct_size;
    /**
     * Number of the batch among those that its kernel has taken, from 0.
     */
    uint64_t batch;
    /**
     * Batches that were done at once, this one included.
     */
    uint64_t together;
    /**
     * Rows handed over.
     */
    uint64_t rows_in;
    /**
     * Rows given back.
     */
    uint64_t rows_out;
    /**
     * Bytes of the columns that were read.
     */
    uint64_t bytes_in;
    /**
     * Bytes of the columns given back.
     */
    uint64_t bytes_out;
    /**
     * Bytes of payload written while compacting it.
     */
    uint64_t bytes_copied;
    /**
     * Bytes copied to devices.
     */
    uint64_t bytes_to_device;
    /**
     * Bytes copied from devices.
     */
    uint64_t bytes_from_device;
    /**
     * Time that it took, by the runtime's clock.
     */
    uint64_t taken_ns;
    /**
     * Time that it was expected to take, by the clock of the device; `UNLADE_UNKNOWN_TIME` where
     * nobody asked.
     */
    uint64_t predicted_ns;
    /**
     * The host's CPU time; `UNLADE_UNKNOWN_TIME` unless the runtime has `UNLADE_HOST_CPU`.
     */
    uint64_t host_cpu_ns;
    /**
     * How often work was repeated.
     */
    uint32_t retries;
    /**
     * How many parts there are, for `unlade_receipt_part`.
     */
    uint32_t parts;
    /**
     * 1 where the CPU computed the result, which is the reference; 0 where nothing but a device
     * vouches for it.
     */
    uint32_t is_reference;
    /**
     * 0.
     */
    uint32_t reserved;
} unlade_receipt_figures;

/**
 * What one device did for a batch. Set `struct_size` to its size. Texts live until the receipt is
 * freed; times are `UNLADE_UNKNOWN_TIME` where the device does not tell them.
 */
typedef struct unlade_receipt_part_figures {
    /**
     * `sizeof(struct unlade_receipt_part_figures)`.
     */
    size_t struct_size;
    /**
     * The device's name.
     */
    const char *device;
    /**
     * Why this device, in words.
     */
    const char *reason;
    /**
     * `inline`, `queued`, or `fallback` in place of a device that was meant to run it.
     */
    const char *path;
    /**
     * The clock of its times: `wall` or `virtual`.
     */
    const char *clock;
    /**
     * Rows that it took.
     */
    uint64_t rows;
    /**
     * Time waiting for the device.
     */
    uint64_t queued_ns;
    /**
     * Time copying to the device.
     */
    uint64_t copy_in_ns;
    /**
     * Time computing.
     */
    uint64_t compute_ns;
    /**
     * Time copying from the device.
     */
    uint64_t copy_out_ns;
    /**
     * 1 where it ended in a result; 0 where its device failed and the work was repeated.
     */
    uint32_t is_complete;
    /**
     * 0.
     */
    uint32_t reserved;
} unlade_receipt_part_figures;

/**
 * How batches are pinned. Set all of it to 0, and `struct_size` to its size.
 */
typedef struct unlade_pin_options {
    /**
     * `sizeof(struct unlade_pin_options)`.
     */
    size_t struct_size;
    /**
     * The device, by its name: `cuda:0`. Null: the first that has memory of its own, which is never a
     * simulated one such as `sim`.
     */
    const char *device;
    /**
     * How batches are looked at: `UNLADE_CHECK_OFFSETS` or another one.
     */
    uint32_t check;
    /**
     * `UNLADE_ONLY_ALIGNED`, or 0.
     */
    uint32_t flags;
} unlade_pin_options;

/**
 * What is pinned, and how much of it is on the device at the moment. Set `struct_size` to its size.
 */
typedef struct unlade_resident_status {
    /**
     * `sizeof(struct unlade_resident_status)`.
     */
    size_t struct_size;
    /**
     * The name of the device, which lives until the handle is freed; null where that has no memory of
     * its own, and the batches lie in the host's.
     */
    const char *device;
    /**
     * How many batches were pinned.
     */
    uint64_t batches;
    /**
     * How many of them are on the device. The others were moved out to make room, or were lost with the
     * device, and are sent there again when they are next used.
     */
    uint64_t batches_on_device;
    /**
     * Rows of all of them.
     */
    uint64_t rows;
    /**
     * Bytes that those on the device take there, and what was sent beside them to be exported.
     */
    uint64_t bytes_on_device;
    /**
     * Bytes that were copied on the host as the batches came in, since they lay less aligned than their
     * width.
     */
    uint64_t bytes_copied;
} unlade_resident_status;

/**
 * How a runtime is to be. Set all of it to 0, and `struct_size` to its size; what stays 0 is as it
 * usually is.
 */
typedef struct unlade_runtime_options {
    /**
     * `sizeof(struct unlade_runtime_options)`.
     */
    size_t struct_size;
    /**
     * The devices, by name, with commas between them: `cpu`, `cuda:0`, `sim`, `sim-gpu`, `sim-dpu`,
     * `dpu:unix:PATH`, `dpu:0000:3b:00.0`. The CPU is always among them. Null, or `auto`: those that
     * are present.
     */
    const char *devices;
    /**
     * The device that runs queries. Null, or `auto`: the one that is predicted to be the fastest,
     * which is never a simulated one.
     */
    const char *placement;
    /**
     * A file that keeps what was measured on devices from one run to the next. It is written where
     * batches had a choice of devices, and else left as it is. Null: none.
     */
    const char *calibration;
    /**
     * Most bytes that batches may hold at once, results that were not released included. 0: 4 GiB.
     */
    uint64_t memory_budget;
    /**
     * Bytes of pinned memory to reserve at the start. 0: 256 MiB, or the budget where that is less.
     */
    uint64_t pool_reserve;
    /**
     * How long a device may take for one batch before it is held to be lost, in milliseconds. 0: a
     * minute.
     */
    uint64_t device_timeout_ms;
    /**
     * How many threads compute, for streams and tickets. 0: 1.
     */
    uint32_t threads;
    /**
     * Most tickets that are not done at any time. 0: 1024.
     */
    uint32_t max_tickets;
    /**
     * `UNLADE_NO_FALLBACK` and others, added.
     */
    uint32_t flags;
    /**
     * 0.
     */
    uint32_t reserved;
} unlade_runtime_options;

/**
 * How files are read. Set all of it to 0, and `struct_size` to its size.
 */
typedef struct unlade_scan_options {
    /**
     * `sizeof(struct unlade_scan_options)`.
     */
    size_t struct_size;
    /**
     * The columns to read, by name; the others are not decoded. They come in the order of the file.
     * Null: all of them.
     */
    const char *const *columns;
    /**
     * How many names these are.
     */
    size_t columns_count;
    /**
     * Most rows of a batch. 0: 65,536.
     */
    uint64_t batch_rows;
    /**
     * Bytes of a batch, about. 0: 256 MiB.
     */
    uint64_t batch_bytes;
    /**
     * How many threads decode. 0: 1, which is the one that asks for batches.
     */
    uint32_t threads;
    /**
     * `UNLADE_SCAN_MMAP`, or 0.
     */
    uint32_t flags;
} unlade_scan_options;

/**
 * How a session is to be. Set all of it to 0, and `struct_size` to its size; what stays 0 is as it
 * usually is.
 */
typedef struct unlade_session_options {
    /**
     * `sizeof(struct unlade_session_options)`.
     */
    size_t struct_size;
    /**
     * What messages call it. Null: `session`.
     */
    const char *label;
    /**
     * Devices to count on, with commas between them: `gpu=0.5`, `dpu=2`, `cuda:0=1`. It then runs on
     * those and on the CPU. Null: none, and it runs wherever the runtime does.
     */
    const char *devices;
    /**
     * The device that runs its queries. Null: as the runtime has it.
     */
    const char *placement;
    /**
     * Most bytes that its batches may hold at once. 0: all of the runtime's.
     */
    uint64_t memory_budget;
    /**
     * When its batches end at the latest, in milliseconds from now. 0: never.
     */
    uint64_t deadline_ms;
    /**
     * How long to wait for the devices where others hold them, in milliseconds.
     */
    uint64_t patience_ms;
    /**
     * Its share of devices' time beside others. 0: 1.
     */
    uint32_t weight;
    /**
     * `UNLADE_PRIORITY_NORMAL` or another one.
     */
    int32_t priority;
} unlade_session_options;

/**
 * Called once, with `user` and what became of the batch: the result where `code` is `UNLADE_OK`,
 * else the error. It runs on a thread of the runtime, or on the one that submits or cancels, and must
 * not keep it for long. Both `output` and `error` are freed when it returns: what it keeps of the
 * result it moves out. It must not throw, nor jump.
 */
typedef void (*unlade_done)(void *user,
                            enum unlade_code code,
                            struct unlade_output *output,
                            struct unlade_error *error);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The name of a code, `UNLADE_OK` and so on; null for what is none. It lives as long as the library
 * is loaded.
 */
const char *unlade_code_name(int32_t code);

/**
 * As `unlade_kernel_run`, for a batch that says where its memory is, and with a result that does.
 *
 * `ARROW_DEVICE_CPU` and `ARROW_DEVICE_CUDA_HOST`, without an event to wait for, is memory that the host
 * reads: it is computed on where it is. `ARROW_DEVICE_CUDA` and `ARROW_DEVICE_CUDA_MANAGED` is memory of
 * the GPU of that `device_id`, which the kernel's runtime must have opened, as `cuda:0` and so on. The
 * calling thread waits for `sync_event`, which is null or points to a CUDA event, and then has the GPU bring
 * the batch to the host; an event that is not reached in time is `UNLADE_DEVICE_FAULT`. Each buffer must lie
 * inside of one allocation of the GPU's. `output.bytes_copied` counts what was brought, and so does the receipt,
 * in `bytes_from_device`, with the time in `taken_ns`. A batch that a GPU was copying when it failed is never
 * released, as it may still be read.
 *
 * A batch that `unlade_resident_export` gave, of the runtime that the kernel is of, and as it was given, is run
 * on where it lies, as `unlade_kernel_run_resident` does; it is released when the result is there. Any other
 * type, and `ARROW_DEVICE_EXT_DEV` from anywhere else, is `UNLADE_UNSUPPORTED`, and says so.
 *
 * Results lie in the host's memory, `ARROW_DEVICE_CPU`, and are there when this returns: there is no
 * event. `result` gets the array; `output` all else, and its own array stays released.
 */
enum unlade_code unlade_kernel_run_device(const struct unlade_kernel *kernel,
                                          struct ArrowDeviceArray *array,
                                          const struct ArrowSchema *schema,
                                          struct ArrowDeviceArray *result,
                                          struct unlade_output *output,
                                          struct unlade_error **error);

/**
 * Exports a pinned batch, counted from 0, as an array of struct type whose buffers are addresses in the
 * device's memory, without a copy; `unlade_resident_schema` has its schema. Columns of fixed width are there,
 * strings and binary values with offsets, and dictionaries of these. Strings that the device does not compact,
 * and the values of dictionaries, are sent as they are first exported, and stay as batches do.
 * `UNLADE_UNSUPPORTED` says that a column is of another kind, as a list or a view is, that the batches lie in
 * the host's memory, or that there is no room to send what was moved out; `UNLADE_DEVICE_FAULT` that the
 * device has failed and is not back yet.
 *
 * On a GPU the array is `ARROW_DEVICE_CUDA` with the `device_id` of its name, and on any other device
 * `ARROW_DEVICE_EXT_DEV` with the place of that device in `unlade_runtime_devices`. It is there when this
 * returns: there is no event. It is to be read alone, starts at offset 0, and stays where it is until it is
 * released, whether or not the handle was freed before: the whole array, and columns that were moved out of
 * it. A device that is lost, or reset, loses it meanwhile.
 *
 * `unlade_kernel_run_device` takes it back where the kernel's runtime is the one that pinned it, and runs on it
 * where it lies.
 */
enum unlade_code unlade_resident_export(const struct unlade_resident *resident,
                                        size_t batch,
                                        struct ArrowDeviceArray *array,
                                        struct unlade_error **error);

/**
 * As `unlade_resident_export`, of one column alone, both counted from 0: an array of the column's type.
 * Only what the column is in stays with it: its batch, or what was sent beside that.
 */
enum unlade_code unlade_resident_export_column(const struct unlade_resident *resident,
                                               size_t batch,
                                               size_t column,
                                               struct ArrowDeviceArray *array,
                                               struct unlade_error **error);

/**
 * Lists the devices of a runtime.
 */
enum unlade_code unlade_runtime_devices(const struct unlade_runtime *runtime,
                                        struct unlade_devices **devices,
                                        struct unlade_error **error);

/**
 * How many there are; 0 for what is no list.
 */
size_t unlade_devices_count(const struct unlade_devices *devices);

/**
 * Tells of one of them, counted from 0.
 */
enum unlade_code unlade_devices_get(const struct unlade_devices *devices,
                                    size_t index,
                                    struct unlade_device *device,
                                    struct unlade_error **error);

/**
 * All that is known of them, as JSON; null for what is no list. It lives until the list is freed.
 */
const char *unlade_devices_json(const struct unlade_devices *devices);

/**
 * Frees the list. Null is allowed.
 */
enum unlade_code unlade_devices_free(struct unlade_devices *devices);

/**
 * The code of an error, which is the one that the call returned; 0 for what is none.
 */
int32_t unlade_error_code(const struct unlade_error *error);

/**
 * What went wrong and what to do about it, in words; null for what is no error. It lives until the
 * error is freed.
 */
const char *unlade_error_message(const struct unlade_error *error);

/**
 * Whether an error is about a row, which is counted from 0 in the batch handed over, and written to
 * `row` unless that is null.
 */
bool unlade_error_row(const struct unlade_error *error, uint64_t *row);

/**
 * Frees an error. Null is allowed.
 */
enum unlade_code unlade_error_free(struct unlade_error *error);

/**
 * Registers a function at a runtime, for as long as that lives: queries that are read with the runtime
 * (`unlade_query_text_with` and its like) may call it by its name, in a filter and in a select list, on
 * arguments that are any expressions. Kernels that call it compute it on the CPU, before their program,
 * for every row of a batch, also for those that a filter drops; the receipt and the explanation say so.
 * Its failure is `UNLADE_DATA`, with the row if it named one; a result that is no array of its type and
 * length is `UNLADE_MALFORMED`.
 *
 * `function` is read, and `user` is the runtime's from then on: `release` is called when the runtime and
 * all that was made with it have ended. Where this fails nothing was taken, and it is not called.
 * `UNLADE_EXPRESSION` for a name that is none or is taken.
 */
enum unlade_code unlade_function_register(const struct unlade_runtime *runtime,
                                          const struct unlade_function *function,
                                          struct unlade_error **error);

/**
 * Compiles a query for batches of a schema, which is a struct of the columns, read and not
 * released. `session` may be null: the kernel then belongs to the runtime's own; `options` may be
 * null.
 *
 * `UNLADE_UNSUPPORTED` says that no device that may run it can: the engine's own evaluator has the
 * query then, and its batches, none of which was touched.
 */
enum unlade_code unlade_kernel_compile(const struct unlade_runtime *runtime,
                                       const struct unlade_session *session,
                                       const struct unlade_query *query,
                                       const struct ArrowSchema *schema,
                                       const struct unlade_kernel_options *options,
                                       struct unlade_kernel **kernel,
                                       struct unlade_error **error);

/**
 * Runs a kernel on a batch; on the calling thread where that is the CPU's part.
 *
 * `array` is handed over whatever comes of it: it is marked as released, and released once, at the
 * latest when the result is, which may have its memory in it. `schema` is read and not released;
 * null says that the batch is of the kernel's own.
 */
enum unlade_code unlade_kernel_run(const struct unlade_kernel *kernel,
                                   struct ArrowArray *array,
                                   const struct ArrowSchema *schema,
                                   struct unlade_output *output,
                                   struct unlade_error **error);

/**
 * The schema of a kernel's results.
 */
enum unlade_code unlade_kernel_schema(const struct unlade_kernel *kernel,
                                      struct ArrowSchema *schema,
                                      struct unlade_error **error);

/**
 * What runs where, and why, in words for people; nothing is run. The text is freed by
 * `unlade_string_free`.
 */
enum unlade_code unlade_kernel_explain(const struct unlade_kernel *kernel,
                                       char **explained,
                                       struct unlade_error **error);

/**
 * The same as JSON, with what each device is predicted to take.
 */
enum unlade_code unlade_kernel_explain_json(const struct unlade_kernel *kernel,
                                            char **json,
                                            struct unlade_error **error);

/**
 * Frees a handle. Tickets, streams and results stay. Null is allowed.
 */
enum unlade_code unlade_kernel_free(struct unlade_kernel *kernel);

/**
 * Has messages up to a level go to a function, in place of the one before; null, or
 * `UNLADE_LOG_OFF`, is nowhere, as it is at first. When this returns, the function before is not
 * running any more, and will not be called again. The log is the whole process's.
 */
enum unlade_code unlade_log_set(int32_t level,
                                unlade_log log,
                                void *user,
                                struct unlade_error **error);

/**
 * Tells how a runtime's memory is used at the moment.
 */
enum unlade_code unlade_runtime_memory(const struct unlade_runtime *runtime,
                                       struct unlade_memory *memory,
                                       struct unlade_error **error);

/**
 * Releases everything in a result. Null, and what was released or moved on, is passed over.
 */
enum unlade_code unlade_output_release(struct unlade_output *output);

/**
 * A query from text: which rows to keep, `a > 1 and b is not null`, and what to put out, `a, a * 2
 * as twice`. Null is all rows, or all columns. `unlade functions` lists the language.
 */
enum unlade_code unlade_query_text(const char *filter,
                                   const char *select,
                                   uint32_t flags,
                                   struct unlade_query **query,
                                   struct unlade_error **error);

/**
 * As `unlade_query_text`, where the functions may be called that were registered at a runtime.
 */
enum unlade_code unlade_query_text_with(const struct unlade_runtime *runtime,
                                        const char *filter,
                                        const char *select,
                                        uint32_t flags,
                                        struct unlade_query **query,
                                        struct unlade_error **error);

/**
 * A query from its bytes in Unlade's own encoding, docs/WIRE.md: what `unlade_query_encode`, or
 * another process, has made. Bytes that break the format's rules, or are of a version that is not known, are
 * `UNLADE_MALFORMED`, and more of something than is read `UNLADE_LIMIT`.
 */
enum unlade_code unlade_query_wire(const uint8_t *bytes,
                                   size_t length,
                                   struct unlade_query **query,
                                   struct unlade_error **error);

/**
 * As `unlade_query_wire`, where the functions may be called that were registered at a runtime; bytes that
 * call another are `UNLADE_EXPRESSION`.
 */
enum unlade_code unlade_query_wire_with(const struct unlade_runtime *runtime,
                                        const uint8_t *bytes,
                                        size_t length,
                                        struct unlade_query **query,
                                        struct unlade_error **error);

/**
 * A query from the bytes of a Substrait `ExtendedExpression`, such as pyarrow serialises; `form` is
 * `UNLADE_SUBSTRAIT_FILTER` or `_PROJECTION`. docs/SUBSTRAIT.md lists what is read. What the message asks
 * of the rules, as the failure behaviour of a cast, holds when the query is compiled, before what
 * `unlade_kernel_options` says; rules that cannot meet it are an error then. `unlade_query_encode` does
 * not carry that. Bytes that are no such message are `UNLADE_MALFORMED`, more of something than is read
 * `UNLADE_LIMIT`, and what a message says that is not known, or leaves open, `UNLADE_EXPRESSION`.
 * `UNLADE_UNSUPPORTED` in a library that was built without feature `substrait`.
 */
enum unlade_code unlade_query_substrait(const uint8_t *bytes,
                                        size_t length,
                                        uint32_t form,
                                        struct unlade_query **query,
                                        struct unlade_error **error);

/**
 * As `unlade_query_substrait`, where a function that is none of Substrait's may be one that was registered
 * at a runtime under its name.
 */
enum unlade_code unlade_query_substrait_with(const struct unlade_runtime *runtime,
                                             const uint8_t *bytes,
                                             size_t length,
                                             uint32_t form,
                                             struct unlade_query **query,
                                             struct unlade_error **error);

/**
 * Writes the bytes of a query to `bytes`, where there is room for `capacity` of them, and how many they
 * are to `length`; `UNLADE_LIMIT` where there are more. `bytes` may be null where `capacity` is 0, to
 * learn how many there are. A query of more than is written is `UNLADE_LIMIT` as well, with a `length` of 0.
 */
enum unlade_code unlade_query_encode(const struct unlade_query *query,
                                     uint8_t *bytes,
                                     size_t capacity,
                                     size_t *length,
                                     struct unlade_error **error);

/**
 * Frees a query. Kernels that were compiled of it stay. Null is allowed.
 */
enum unlade_code unlade_query_free(struct unlade_query *query);

/**
 * Reads a receipt.
 */
enum unlade_code unlade_receipt_read(const struct unlade_receipt *receipt,
                                     struct unlade_receipt_figures *figures,
                                     struct unlade_error **error);

/**
 * Reads one part of a receipt, counted from 0: what one device did.
 */
enum unlade_code unlade_receipt_part(const struct unlade_receipt *receipt,
                                     size_t index,
                                     struct unlade_receipt_part_figures *part,
                                     struct unlade_error **error);

/**
 * A receipt as JSON, as docs/RECEIPTS.md describes it; null for what is no receipt. It lives until
 * the receipt is freed.
 */
const char *unlade_receipt_json(const struct unlade_receipt *receipt);

/**
 * Frees a receipt. Null is allowed.
 */
enum unlade_code unlade_receipt_free(struct unlade_receipt *receipt);

/**
 * Pins all batches of an Arrow stream: sends them to a device's memory, where they stay for
 * `unlade_kernel_run_resident`. The stream is handed over whatever comes of it, and is read to its end here.
 * `options` may be null.
 *
 * Columns of fixed width are sent, and strings where the device compacts them; the others, and what finds no
 * room, stay on the host, which keeps all of it. What was unused for longest makes room for what is pinned
 * later. On a device without memory of its own, as `cpu` and cards are, there is nothing to send.
 */
enum unlade_code unlade_runtime_pin(const struct unlade_runtime *runtime,
                                    struct ArrowArrayStream *input,
                                    const struct unlade_pin_options *options,
                                    struct unlade_resident **resident,
                                    struct unlade_error **error);

/**
 * Runs a kernel on one of the batches that were pinned, counted from 0, where it lies: on the device that has
 * it, unless another is predicted to be faster, or it fails. The kernel is one of the runtime that pinned it.
 * A query that calls users' functions runs on the batch as the host has it.
 */
enum unlade_code unlade_kernel_run_resident(const struct unlade_kernel *kernel,
                                            const struct unlade_resident *resident,
                                            size_t batch,
                                            struct unlade_output *output,
                                            struct unlade_error **error);

/**
 * Tells what is pinned, and how much of it is on the device at the moment.
 */
enum unlade_code unlade_resident_read(const struct unlade_resident *resident,
                                      struct unlade_resident_status *status,
                                      struct unlade_error **error);

/**
 * The schema of the batches, as their stream told it.
 */
enum unlade_code unlade_resident_schema(const struct unlade_resident *resident,
                                        struct ArrowSchema *schema,
                                        struct unlade_error **error);

/**
 * Frees a handle. Results stay, and what was exported keeps what it needs. Null is allowed.
 */
enum unlade_code unlade_resident_free(struct unlade_resident *resident);

/**
 * Opens a runtime of one's own. `options` may be null.
 */
enum unlade_code unlade_runtime_open(const struct unlade_runtime_options *options,
                                     struct unlade_runtime **runtime,
                                     struct unlade_error **error);

/**
 * Opens the runtime that all of this process share who ask for it so: one pool of memory, one
 * scheduler. The first one says how it is; `options` of later ones are null, or say the same. It
 * ends with the last of them, and what they have made with it.
 */
enum unlade_code unlade_runtime_shared(const struct unlade_runtime_options *options,
                                       struct unlade_runtime **runtime,
                                       struct unlade_error **error);

/**
 * Ends a runtime for all who share it: nothing is taken on any more, what is under way is done, and
 * cut off where it is not done within so many milliseconds. How many batches were cut off, and are
 * under way still, is written to `cut_off` and `left`, unless these are null.
 */
enum unlade_code unlade_runtime_shutdown(const struct unlade_runtime *runtime,
                                         uint64_t within_ms,
                                         uint64_t *cut_off,
                                         uint64_t *left,
                                         struct unlade_error **error);

/**
 * How a runtime is at the moment, as JSON: devices, memory, sessions, tickets, why work went
 * elsewhere. The text is freed by `unlade_string_free`. It is the snapshot that `unlade top` reads.
 */
enum unlade_code unlade_runtime_status_json(const struct unlade_runtime *runtime,
                                            char **json,
                                            struct unlade_error **error);

/**
 * Frees a handle. What was made with the runtime keeps it. Null is allowed.
 */
enum unlade_code unlade_runtime_free(struct unlade_runtime *runtime);

/**
 * Opens Parquet and Arrow IPC files of one schema as an Arrow stream, in the order of their names.
 * `options` may be null.
 */
enum unlade_code unlade_scan_open(const char *const *paths,
                                  size_t paths_count,
                                  const struct unlade_scan_options *options,
                                  struct ArrowArrayStream *stream,
                                  struct unlade_error **error);

/**
 * Opens a session, once it has its devices. `options` may be null.
 */
enum unlade_code unlade_session_open(const struct unlade_runtime *runtime,
                                     const struct unlade_session_options *options,
                                     struct unlade_session **session,
                                     struct unlade_error **error);

/**
 * Ends everything that the session has under way, with `UNLADE_CANCELLED`, and refuses the rest.
 */
enum unlade_code unlade_session_cancel(const struct unlade_session *session,
                                       struct unlade_error **error);

/**
 * How a session fares at the moment, as JSON: memory, devices, batches, time on devices. The text is
 * freed by `unlade_string_free`.
 */
enum unlade_code unlade_session_status_json(const struct unlade_session *session,
                                            char **json,
                                            struct unlade_error **error);

/**
 * Frees a handle. What was made with the session keeps it. Null is allowed.
 */
enum unlade_code unlade_session_free(struct unlade_session *session);

/**
 * Runs a kernel over all batches of an Arrow stream, on as many threads as the runtime has. The
 * stream is handed over whatever comes of it: it is marked as released, and released once. It is
 * read by one thread at a time, which is not always the same. Its batches are looked at as the
 * kernel's options say.
 */
enum unlade_code unlade_kernel_stream(const struct unlade_kernel *kernel,
                                      struct ArrowArrayStream *input,
                                      struct unlade_stream **stream,
                                      struct unlade_error **error);

/**
 * The next result. `UNLADE_END`, which is no error, says that there is none, and so does every call
 * after an error. Threads that call it at once have their turn one after another.
 */
enum unlade_code unlade_stream_next(const struct unlade_stream *stream,
                                    struct unlade_output *output,
                                    struct unlade_error **error);

/**
 * Ends a stream from any thread: its next result is `UNLADE_CANCELLED`, and the last.
 */
enum unlade_code unlade_stream_cancel(const struct unlade_stream *stream,
                                      struct unlade_error **error);

/**
 * Makes an Arrow stream of the results, without their receipts and masks, for whoever reads those.
 * The handle stays, to be cancelled by, and to be freed; its results are the Arrow stream's.
 */
enum unlade_code unlade_stream_export(const struct unlade_stream *stream,
                                      struct ArrowArrayStream *exported,
                                      struct unlade_error **error);

/**
 * Bytes of the stream's batches that were copied so far as they came in, since they lay less aligned
 * than their width; what is copied as a result goes out is in `unlade_output.bytes_copied`. 0 for
 * what is no stream.
 */
uint64_t unlade_stream_bytes_copied(const struct unlade_stream *stream);

/**
 * Frees a stream: what has not begun of it never will, unless it was exported. Null is allowed.
 */
enum unlade_code unlade_stream_free(struct unlade_stream *stream);

/**
 * Frees text that a call gave. Null is allowed; what was not given, or was freed, is an error.
 */
enum unlade_code unlade_string_free(char *string);

/**
 * Hands a batch over to be computed later, and gives a ticket for its result: to wait for
 * (`unlade_ticket_wait`), or to poll (`unlade_ticket_fd`). The array is handed over as in
 * `unlade_kernel_run`.
 */
enum unlade_code unlade_kernel_submit(const struct unlade_kernel *kernel,
                                      struct ArrowArray *array,
                                      const struct ArrowSchema *schema,
                                      struct unlade_ticket **ticket,
                                      struct unlade_error **error);

/**
 * Hands a batch over to be computed later, and has `done` called with its result, which has what
 * `want` says (`UNLADE_WANT_SCHEMA` and others). Where this does not return `UNLADE_OK` it is not
 * called. `ticket` may be null; else it gets a ticket to cancel by, and to free, before `done` is
 * called, which may be before this returns.
 */
enum unlade_code unlade_kernel_submit_then(const struct unlade_kernel *kernel,
                                           struct ArrowArray *array,
                                           const struct ArrowSchema *schema,
                                           uint32_t want,
                                           unlade_done done,
                                           void *user,
                                           struct unlade_ticket **ticket,
                                           struct unlade_error **error);

/**
 * Waits for a result, no longer than so many milliseconds; without end where that is negative.
 * `UNLADE_PENDING`, which is no error, says that it is not there yet. Any other answer is the last
 * one: a result is given once. Inside of a function, a reader or a callback that the runtime has called,
 * which may have the thread that is to do the work, it is `UNLADE_INVALID_ARGUMENT`, unless the result is
 * there or `within_ms` is 0.
 */
enum unlade_code unlade_ticket_wait(const struct unlade_ticket *ticket,
                                    int64_t within_ms,
                                    struct unlade_output *output,
                                    struct unlade_error **error);

/**
 * A descriptor that becomes readable when the result is there, and stays so: for `poll`, `epoll` and
 * the like. It belongs to the ticket, and is closed with it; do not read from it.
 */
enum unlade_code unlade_ticket_fd(const struct unlade_ticket *ticket,
                                  int *fd,
                                  struct unlade_error **error);

/**
 * Gives up a result: work that has not begun never will, and the result is `UNLADE_CANCELLED`, for
 * the callback, too, which is called by this call, unless it was before.
 */
enum unlade_code unlade_ticket_cancel(const struct unlade_ticket *ticket,
                                      struct unlade_error **error);

/**
 * Frees a ticket. Without a callback its result is given up; with one, that is still called. Null is
 * allowed.
 */
enum unlade_code unlade_ticket_free(struct unlade_ticket *ticket);

/**
 * The version of the ABI that the library has: `UNLADE_ABI_MAJOR << 16 | UNLADE_ABI_MINOR`, as they
 * were when it was built. A program works with it where the major number is the one of its header
 * and the minor number is not less.
 */
uint32_t unlade_abi_version(void);

/**
 * The version of the library, such as `0.1.0`.
 */
const char *unlade_version(void);

/**
 * How many handles this process has and has not freed: of runtimes, sessions, queries, kernels,
 * tickets, streams, pinned data, receipts, lists of devices and errors. For tests that look for leaks.
 */
uint64_t unlade_handle_count(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNLADE_H */
