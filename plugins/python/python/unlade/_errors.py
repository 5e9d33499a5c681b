"""What can go wrong."""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """Why a query was not compiled or data has no result."""


class CompileError(Error):
    """The query is refused: syntax, names, types, limits.

    ``str`` shows the text with the place underlined, and what would fit.
    """

    def __init__(
        self,
        message: str,
        rendered: str,
        kind: str,
        clause: str | None,
        span: tuple[int, int] | None,
        help: str | None,  # noqa: A002
    ) -> None:
        super().__init__(rendered)
        #: What is wrong, in one line.
        self.message = message
        #: The message with the text, its place underlined, and the help.
        self.rendered = rendered
        #: ``syntax``, ``unknown``, ``type``, ``unsupported`` or ``limit``.
        self.kind = kind
        #: ``filter`` or ``select``, where the check found it.
        self.clause = clause
        #: First byte of the place in the text, and one past its last.
        self.span = span
        #: What would fit, where that is known.
        self.help = help

    def __reduce__(self):
        return (
            type(self),
            (self.message, self.rendered, self.kind, self.clause, self.span, self.help),
        )


class Unplaceable(Error):
    """No device that placement may choose runs the query."""

    def __init__(self, message: str, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(message, reasons)
        #: Why not, by the device's name.
        self.reasons = dict(reasons)

    def __str__(self) -> str:
        return str(self.args[0])


class TrapError(Error, ArithmeticError):
    """A row has no result under the chosen rules: overflow, division by zero, a bad cast."""

    def __init__(
        self,
        message: str,
        row: int,
        operation: str | None,
        value: str | None,
        ordinal: int,
        spark_class: str | None,
    ) -> None:
        super().__init__(message, row, operation, value, ordinal, spark_class)
        #: The first failing row, counted from 0 in the data that was handed over.
        self.row = row
        #: The operation that failed on it, as an expression; ``None`` where a device reported an
        #: error that evaluating the row again does not show.
        self.operation = operation
        #: The values on which it failed, as text.
        self.value = value
        #: The operation's number in the order of evaluation.
        self.ordinal = ordinal
        #: Apache Spark's error class, under Spark semantics.
        self.spark_class = spark_class

    def __str__(self) -> str:
        return str(self.args[0])


class FunctionError(Error):
    """A function that was registered has no result; ``__cause__`` is what it raised."""

    def __init__(self, message: str, function: str, row: int | None) -> None:
        super().__init__(message, function, row)
        #: The function's name.
        self.function = function
        #: The row that has none, counted from 0 in the data that was handed over, if the function
        #: named one.
        self.row = row

    def __str__(self) -> str:
        return str(self.args[0])


class RowError(ValueError):
    """For functions that are registered: one row of their arguments has no result."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message, row)
        #: The row, counted from 0 in the arrays that the function was given.
        self.row = row

    def __str__(self) -> str:
        return str(self.args[0])


class SchemaError(Error, TypeError):
    """The data is not of the schema that the kernel was compiled for."""


class Exhausted(Error, MemoryError):
    """The memory budget is used up."""

    def __init__(
        self, message: str, asked: int, budget: int, holders: Sequence[tuple[str, int]]
    ) -> None:
        super().__init__(message, asked, budget, holders)
        #: Bytes asked for.
        self.asked = asked
        #: The budget in bytes.
        self.budget = budget
        #: Who holds how many bytes, the largest first.
        self.holders = list(holders)

    def __str__(self) -> str:
        return str(self.args[0])


class DeviceLost(Error):
    """A device failed and nothing else was allowed to take its work."""

    def __init__(self, message: str, device: str, reason: str) -> None:
        super().__init__(message, device, reason)
        #: The device's name.
        self.device = device
        #: What was seen.
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class Cancelled(Error):
    """The ticket, stream or session was cancelled."""


class DeadlineExceeded(Error):
    """The deadline of a session has passed."""

    def __init__(self, message: str, session: str) -> None:
        super().__init__(message, session)
        #: The session's label.
        self.session = session

    def __str__(self) -> str:
        return str(self.args[0])


class Refused(Error):
    """A session cannot have the devices that it asks for."""

    def __init__(self, message: str, session: str, asked: str, reason: str) -> None:
        super().__init__(message, session, asked, reason)
        #: The session's label.
        self.session = session
        #: What it asked for.
        self.asked = asked
        #: Why it cannot be had, and what to do.
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class Shutdown(Error):
    """The runtime is shut down."""


class Forked(Error):
    """This process was forked after Unlade had been used in its parent."""


class LimitError(Error):
    """Something is larger or more than a limit allows."""

    def __init__(self, message: str, asked: int, limit: int) -> None:
        super().__init__(message, asked, limit)
        #: What was asked for.
        self.asked = asked
        #: The limit.
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class DataFormatError(Error, ValueError):
    """Data breaks a rule of its own format."""


class InputError(Error, OSError):
    """The reader that feeds a stream failed."""


class ConfigError(Error, ValueError):
    """Something was asked for that cannot be: a device, an option, a second result."""
