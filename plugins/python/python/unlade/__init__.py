"""Columnar offload: Arrow data and an expression in, Arrow out, computed by the best device present,
with the same bits whichever device that is.

>>> import pyarrow as pa
>>> import unlade
>>> batch = pa.record_batch({"id": pa.array([1, 5, 9], pa.int32()), "name": ["ann", "bob", "cleo"]})
>>> kernel = unlade.compile(batch, filter="id > 3", select="name, id * 2 as twice")
>>> output = kernel.run(batch)
>>> pa.table(output).to_pylist()
[{'name': 'bob', 'twice': 10}, {'name': 'cleo', 'twice': 18}]
>>> output.receipt.parts[0].device
'cpu'

A kernel is compiled once and runs on any number of batches, from any thread. Data is anything with
the Arrow PyCapsule interface: of pyarrow, Polars, DuckDB, pandas, and what a kernel gives back. It is
not copied on its way in or out.
"""

from __future__ import annotations

from typing import Any

from unlade._errors import (
    Cancelled,
    CompileError,
    ConfigError,
    DataFormatError,
    DeadlineExceeded,
    DeviceLost,
    Error,
    Exhausted,
    Forked,
    FunctionError,
    InputError,
    LimitError,
    Refused,
    RowError,
    SchemaError,
    Shutdown,
    TrapError,
    Unplaceable,
)
from unlade._unlade import (
    Batch,
    Column,
    Explain,
    Kernel,
    Output,
    Part,
    Receipt,
    Resident,
    ResidentColumn,
    Runtime,
    Schema,
    Session,
    Source,
    Stream,
    Ticket,
    __version__,
    functions,
    runtime,
)

__all__ = [
    "Batch",
    "Cancelled",
    "Column",
    "CompileError",
    "ConfigError",
    "DataFormatError",
    "DeadlineExceeded",
    "DeviceLost",
    "Error",
    "Exhausted",
    "Explain",
    "Forked",
    "FunctionError",
    "InputError",
    "Kernel",
    "LimitError",
    "Output",
    "Part",
    "Receipt",
    "Refused",
    "Resident",
    "ResidentColumn",
    "RowError",
    "Runtime",
    "Schema",
    "SchemaError",
    "Session",
    "Shutdown",
    "Source",
    "Stream",
    "Ticket",
    "TrapError",
    "Unplaceable",
    "__version__",
    "compile",
    "devices",
    "functions",
    "run",
    "runtime",
]


def compile(data: Any, **query: Any) -> Kernel:  # noqa: A001
    """Prepares a query for data of a schema, on the runtime that all of the process shares.

    ``data`` is a schema, or data that has one. The query is that of :meth:`Runtime.compile`.
    """
    return runtime().compile(data, **query)


def run(data: Any, **query: Any) -> Output:
    """Compiles a query for the schema of data, and runs it once: ``unlade.run(batch, filter="id > 3")``."""
    source = Source(data)
    return compile(source, **query).run(source)


def devices() -> list[dict[str, Any]]:
    """The devices of the shared runtime, as they are at the moment."""
    return runtime().devices()
