"""Batches for a training loop: rows filtered and features computed by Unlade, handed on as tensors.

`Batches` is what PyTorch calls an iterable dataset: `torch.utils.data.DataLoader(Batches(...),
batch_size=None)` takes it as it is, with `tensor = torch.from_dlpack`. Here NumPy stands for torch,
and a straight line is fitted.

    python tensors.py [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

import unlade


class Batches:
    """Rows of a table as dictionaries of tensors, a batch at a time.

    The tensors share the memory that the columns were computed in; nothing is copied.
    """

    def __init__(
        self,
        table: pa.Table,
        *,
        filter: str | None = None,  # noqa: A002
        select: str,
        batch_rows: int,
        tensor: Callable[[Any], Any] = np.from_dlpack,
    ) -> None:
        self.table = table
        self.kernel = unlade.compile(table, filter=filter, select=select)
        self.batch_rows = batch_rows
        self.tensor = tensor

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.kernel.stream(self.table, batch_rows=self.batch_rows) as outputs:
            for output in outputs:
                batch = output.batch
                yield {name: self.tensor(batch[name]) for name in batch.schema.names}


def main(rows: int, epochs: int) -> None:
    random = np.random.default_rng(1)
    celsius = random.uniform(-40, 60, rows)
    table = pa.table(
        {
            "celsius": celsius,
            "fahrenheit": celsius * 1.8 + 32 + random.normal(0, 0.1, rows),
            "broken": random.random(rows) < 0.01,
        }
    )
    batches = Batches(
        table,
        filter="not broken and celsius between -30 and 50",
        select="celsius / 50 as x, fahrenheit / 100 as y",
        batch_rows=8192,
    )
    slope, offset, loss = 0.0, 0.0, float("nan")
    for epoch in range(epochs):
        for batch in batches:
            x, y = batch["x"], batch["y"]
            error = slope * x + offset - y
            loss = float((error**2).mean())
            slope -= 0.5 * float((error * x).mean())
            offset -= 0.5 * float(error.mean())
        print(f"epoch {epoch}: loss {loss:.2e}, slope {slope * 2:.3f}, offset {offset * 100:.1f}")
    assert abs(slope * 2 - 1.8) < 0.01, "the line is 1.8 x + 32"


if __name__ == "__main__":
    quick = "--quick" in sys.argv[1:]
    main(rows=100_000 if quick else 1_000_000, epochs=10)
