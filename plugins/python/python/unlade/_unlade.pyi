"""The compiled part of Unlade."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, final

class ArrowArray(Protocol):
    """A record batch, by the Arrow PyCapsule interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

class ArrowStream(Protocol):
    """A table, frame or reader, by the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class ArrowSchema(Protocol):
    """A schema, by the Arrow PyCapsule interface."""

    def __arrow_c_schema__(self) -> object: ...

class Expression(Protocol):
    """An expression that serialises itself as Substrait, as ``pyarrow.compute.Expression`` does."""

    def to_substrait(self, schema: Any) -> Any: ...

Data = ArrowArray | ArrowStream | Source
#: SQL text, an expression of pyarrow, or a serialised ``ExtendedExpression`` of Substrait.
Spelled = str | Expression | bytes | memoryview
Semantics = Literal["arrow", "datafusion", "spark-legacy", "spark-ansi"]

__version__: str

def runtime() -> Runtime:
    """The runtime that all of the process shares, made when it is first asked for: with every
    device that is present, and as many threads as there are processors."""

def functions() -> list[dict[str, str]]:
    """The language: every form that an expression in text may have, with an example."""

@final
class Runtime:
    """Devices, memory and threads, shared by all kernels that are compiled with it.

    As a context manager it is shut down at the end of its block.
    """

    def __new__(
        cls,
        *,
        devices: Sequence[str] | None = None,
        device: str | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
        pool_reserve: int | None = None,
        fallback: bool = True,
        trust: Literal["trusted", "untrusted"] = "trusted",
        objective: Literal["latency", "host_cpu"] = "latency",
        calibration: str | PathLike[str] | None = None,
        background_compile: bool = False,
        host_cpu: bool = False,
        predictions: bool = False,
        device_timeout: float | None = None,
    ) -> Runtime:
        """A runtime with the devices of these names, or all that are present.

        ``device`` is the one that runs queries, where that is not left to placement. Bytes:
        ``memory_budget`` (4 GiB; 0 is an error) and ``pool_reserve`` (256 MiB). Seconds: ``device_timeout`` (60).
        ``fallback=False`` makes an error of what another device would have to do.

        :raises ConfigError: for a device that is not there, or an option that is none.
        """

    def compile(
        self,
        data: Data | ArrowSchema,
        *,
        filter: Spelled | None = None,
        select: str | Sequence[str] | bytes | memoryview | Mapping[str, Spelled] | None = None,
        mask: bool = False,
        semantics: Semantics = "arrow",
        overflow: Literal["trap", "wrap"] | None = None,
        cast: Literal["trap", "null"] | None = None,
        float_order: Literal["total", "ieee", "spark"] | None = None,
        check_values: bool = False,
    ) -> Kernel:
        """Prepares a query for data of a schema.

        ``filter`` is the condition on rows to keep, ``select`` the columns to put out, all of them
        unless told otherwise. Both are SQL text, expressions of pyarrow (``select`` then by name,
        ``{"x": expression}``), or Substrait. ``mask=True`` also gives which rows are kept.
        ``check_values=True`` has UTF-8 of strings and keys of dictionaries looked at in whatever data
        comes, as well as lengths and offsets.

        :raises CompileError: for a query that does not fit the schema.
        :raises Unplaceable: where no allowed device can run it.
        """

    def register_function(
        self,
        name: str,
        arguments: Sequence[ArrowSchema],
        result: ArrowSchema,
        function: Callable[..., Any],
        *,
        nullable: bool = True,
    ) -> None:
        """Registers a function for queries of this runtime to call by its name, in text or as
        Substrait, as long as the runtime lives.

        ``arguments`` and ``result`` are types, such as ``pyarrow.int64()``. The function gets a pyarrow
        array for each argument and returns an array, or what ``pyarrow.array`` makes one of, of the
        same length; with ``nullable=False`` it never has a null. It must be pure, is called for every
        row of the data, also for those that a filter drops, and by several threads, one at a time. It
        must not wait for a ticket of this runtime, which is refused there.
        What it raises is the ``__cause__`` of a :class:`FunctionError`; an attribute ``row`` of it,
        as :class:`RowError` has, names the row.

        :raises CompileError: for a name that is none, or that another has.
        :raises TypeError: for what is no type, or cannot be called.
        """

    def session(
        self,
        label: str,
        *,
        weight: int = 1,
        priority: Literal["background", "normal", "interactive"] = "normal",
        memory_budget: int | None = None,
        deadline: float | None = None,
        device: str | None = None,
        devices: Sequence[str] = (),
        patience: float = 0.0,
    ) -> Session:
        """Opens a session. ``deadline`` and ``patience`` are in seconds; ``devices`` are those to
        count on: ``["gpu=0.5"]``, ``["cuda:0"]``.

        :raises Refused: where it cannot have the devices within its patience.
        """

    def pin(self, data: Data, *, device: str | None = None) -> Resident:
        """Keeps the columns of data in a device's memory across calls, for
        :meth:`Kernel.run_resident`."""

    def devices(self) -> list[dict[str, Any]]:
        """The devices, as they are at the moment."""

    def memory(self) -> dict[str, Any]:
        """How memory is used at the moment, and by whom."""

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions that have not ended, the runtime's own first."""

    def fallbacks(self) -> list[dict[str, Any]]:
        """Why work went elsewhere than it was meant to, and how often."""

    def cache(self) -> dict[str, Any]:
        """How the cache of compiled programs fares."""

    def shutdown(self, within: float = 10.0) -> int:
        """Ends the runtime for all that was made with it: what is under way is done, within so many
        seconds. Returns how many batches were cut off."""

    @property
    def threads(self) -> int:
        """On how many threads a table or stream is computed."""

    def __enter__(self) -> Runtime: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Session:
    """One who shares a runtime's devices and memory with others.

    As a context manager it is cancelled at the end of its block.
    """

    def compile(
        self,
        data: Data | ArrowSchema,
        *,
        filter: Spelled | None = None,
        select: str | Sequence[str] | bytes | memoryview | Mapping[str, Spelled] | None = None,
        mask: bool = False,
        semantics: Semantics = "arrow",
        overflow: Literal["trap", "wrap"] | None = None,
        cast: Literal["trap", "null"] | None = None,
        float_order: Literal["total", "ieee", "spark"] | None = None,
        check_values: bool = False,
    ) -> Kernel:
        """As :meth:`Runtime.compile`, for this session."""

    def cancel(self) -> None:
        """Ends everything that the session has under way, and refuses the rest."""

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""

    def status(self) -> dict[str, Any]:
        """How it fares at the moment."""

    def __enter__(self) -> Session: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Source:
    """Data that is opened once: a kernel is compiled for its schema before it is read.

    :meth:`Runtime.compile` looks at the schema and leaves the rows to :meth:`Kernel.run`. A DuckDB
    relation, for one, is executed each time that it is opened.
    """

    def __new__(cls, data: Data) -> Source: ...
    @property
    def schema(self) -> Schema:
        """Names and types of its columns."""

@final
class Kernel:
    """A query compiled for data of one schema. It runs from any thread, on several at once, and
    without the interpreter."""

    def run(self, data: Data) -> Output:
        """Runs the query on data. A batch gives one batch; a table, frame or reader is taken in
        pieces, on as many threads as the runtime has, and gives one batch for each.

        :raises TrapError: where a row has no result.
        :raises SchemaError: for data of another schema.
        :raises Exhausted: without memory.
        """

    def __call__(self, data: Data) -> Output:
        """As :meth:`run`."""

    def submit(self, data: Data) -> Ticket:
        """Hands a batch over, to be computed by the runtime's threads."""

    async def run_async(self, data: Data) -> Output:
        """Runs the query on a batch, to be awaited. Cancelling the task cancels the batch."""

    def stream(self, data: Data, *, batch_rows: int | None = None) -> Stream:
        """Runs the query on every batch of a table or reader, as results are asked for. Batches of
        more than ``batch_rows`` rows come in pieces."""

    def run_resident(self, resident: Resident) -> Output:
        """Runs the query on every batch that was pinned, where they lie."""

    def explain(self) -> Explain:
        """What runs where, and why; nothing is run."""

    @property
    def schema(self) -> Schema:
        """Names and types of the columns that it makes."""

    @property
    def input_schema(self) -> Schema:
        """Names and types of the columns that it takes."""

    @property
    def input_columns(self) -> list[str]:
        """Names of the columns that it reads: a reader need not decode the others."""

    @property
    def shape(self) -> str:
        """Names the program, whatever its literals are."""

@final
class Explain:
    """What a kernel does, and why there. ``str`` is for reading."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, by the names of its JSON form."""

@final
class Output:
    """What became of the data: batches, and a receipt for each.

    All of it is a table for others: ``pyarrow.table(output)``, ``polars.DataFrame(output)``.
    """

    @property
    def batches(self) -> list[Batch]:
        """The batches, in the order of the data."""

    @property
    def batch(self) -> Batch:
        """The batch, where there is one."""

    @property
    def receipts(self) -> list[Receipt]:
        """One receipt for each batch."""

    @property
    def receipt(self) -> Receipt:
        """The receipt, where there is one batch."""

    @property
    def masks(self) -> list[Column]:
        """Which rows of the input each batch keeps, of a kernel with ``mask=True``."""

    @property
    def bytes_realigned(self) -> int:
        """Bytes of the input that were copied because they were not aligned for their type."""

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""

    @property
    def schema(self) -> Schema:
        """Names and types of the columns."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Batch:
    """A record batch: columns of one length, on the memory that they were computed in.

    ``pyarrow.record_batch(batch)``, ``polars.DataFrame(batch)`` read it without a copy.
    """

    def __new__(cls, data: Data) -> Batch: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def num_columns(self) -> int: ...
    @property
    def schema(self) -> Schema: ...
    def column(self, which: int | str) -> Column:
        """One column, by its name or position."""

    def __getitem__(self, which: int | str) -> Column: ...
    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Column:
    """One column of a batch, on the memory that it was computed in.

    As an Arrow array: ``pyarrow.array(column)``. As a tensor that may only be read:
    ``numpy.from_dlpack(column)``, for fixed-width numbers without nulls.
    """

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str:
        """The type: by its name in the text form where that has one, else by Arrow's."""

    @property
    def null_count(self) -> int: ...
    def to_numpy(self) -> Any:
        """The column as a NumPy array, which shares its memory and may only be read.

        So ``numpy.asarray(column)`` is. Nulls, booleans and what is no number are a ``BufferError``.
        """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __dlpack__(
        self,
        *,
        stream: object | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

@final
class Schema:
    """Names and types of columns. ``pyarrow.schema(schema)`` reads it."""

    @property
    def names(self) -> list[str]: ...
    @property
    def types(self) -> list[str]:
        """Types: by their names in the text form where that has them, else by Arrow's."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class Receipt:
    """What became of one batch: what ran where, why, and what it cost.

    Times are in nanoseconds, each by the clock that is named beside it.
    """

    @property
    def batch(self) -> int: ...
    @property
    def together(self) -> int: ...
    @property
    def rows_in(self) -> int: ...
    @property
    def rows_out(self) -> int: ...
    @property
    def calls(self) -> list[dict[str, Any]]:
        """Calls of registered functions, in order: ``function``, ``rows`` and ``taken_ns`` of each."""

    @property
    def parts(self) -> list[Part]: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def bytes_copied(self) -> int: ...
    @property
    def bytes_to_device(self) -> int: ...
    @property
    def bytes_from_device(self) -> int: ...
    @property
    def staged_ns(self) -> int: ...
    @property
    def gathered_ns(self) -> int: ...
    @property
    def predicted_ns(self) -> int | None: ...
    @property
    def predicted_clock(self) -> Literal["wall", "virtual"] | None: ...
    @property
    def taken_ns(self) -> int: ...
    @property
    def taken_clock(self) -> Literal["wall", "virtual"]: ...
    @property
    def host_cpu_ns(self) -> int | None: ...
    @property
    def retries(self) -> int: ...
    @property
    def verified(self) -> Literal["reference", "unverified"]: ...
    def to_dict(self) -> dict[str, Any]:
        """All of it, by the names of its JSON form."""

@final
class Part:
    """What one device did for a batch. Times are ``None`` where the device does not say them."""

    @property
    def device(self) -> str: ...
    @property
    def path(self) -> Literal["inline", "queued", "fallback"]: ...
    @property
    def reason(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def completed(self) -> bool: ...
    @property
    def queued_ns(self) -> int | None: ...
    @property
    def copy_in_ns(self) -> int | None: ...
    @property
    def compute_ns(self) -> int | None: ...
    @property
    def copy_out_ns(self) -> int | None: ...
    @property
    def bytes_compacted(self) -> int: ...
    @property
    def clock(self) -> Literal["wall", "virtual"]: ...

@final
class Ticket:
    """The result of a batch that was submitted. A ticket that is dropped is cancelled."""

    def wait(self, timeout: float | None = None) -> Output:
        """Waits for the result, which is given once, for so many seconds at most.

        :raises TimeoutError: where it is not there yet; the ticket can be waited for again.
        :raises Cancelled: where the ticket was cancelled.
        """

    def done(self) -> bool:
        """Whether the result is there, was given, or will not come."""

    def cancel(self) -> None:
        """Gives the result up: work that has not begun never will, and who waits is told."""

@final
class Stream(Iterator[Output], AsyncIterator[Output]):
    """The results of a kernel over a table or reader, in its order: one for each of its batches.

    As a context manager it is cancelled at the end of its block. As a reader for others it is read
    without receipts, once: ``pyarrow.RecordBatchReader.from_stream(stream)``.
    """

    def __iter__(self) -> Stream: ...
    def __next__(self) -> Output: ...
    def __aiter__(self) -> Stream: ...
    async def __anext__(self) -> Output: ...
    def cancel(self) -> None:
        """Ends the stream from any thread."""

    @property
    def schema(self) -> Schema: ...
    def __enter__(self) -> Stream: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Resident:
    """Data that is kept in a device's memory."""

    @property
    def device(self) -> str | None:
        """The name of the device; ``None`` where the data lies in the host's memory."""

    @property
    def batches(self) -> int:
        """How many batches were pinned."""

    @property
    def batches_on_device(self) -> int:
        """How many of the batches are on the device at the moment."""

    def column(self, name: str, *, batch: int = 0) -> ResidentColumn:
        """A column of one batch where it lies on the device: of fixed width, of strings, or a dictionary of
        these. The column stays there as long as it is held.
        """

@final
class ResidentColumn:
    """A column in a device's memory, which may only be read.

    Numbers without nulls are a tensor, by DLPack, and on a CUDA device have the CUDA array interface:
    ``torch.from_dlpack(column)``, ``cupy.asarray(column)``, ``numba.cuda.as_cuda_array(column)``. Every
    column is an Arrow array on its device.
    """

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str:
        """The name of the device."""

    @property
    def type(self) -> str:
        """The type: by its name in the text form where that has one, else by Arrow's."""

    @property
    def null_count(self) -> int: ...
    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_device_array__(
        self, requested_schema: object | None = None, **kwargs: object
    ) -> tuple[object, object]:
        """The column as an Arrow array on its device. It is there: there is no event to wait for."""

    def __dlpack__(
        self,
        *,
        stream: object | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """The column as a tensor of one dimension, on its device's memory, which may only be read."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Its device: type and number, as DLPack has them."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the protocol. The values are there: there is no stream to wait for."""
