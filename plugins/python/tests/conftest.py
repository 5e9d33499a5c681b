"""What tests share."""

import gc

import numpy as np
import pyarrow as pa
import pytest

import unlade


@pytest.fixture
def batch() -> pa.RecordBatch:
    return pa.record_batch(
        {
            "id": pa.array([1, 5, 9], pa.int32()),
            "name": pa.array(["ann", "bob", None]),
            "price": pa.array([0.5, None, 2.5], pa.float64()),
        }
    )


@pytest.fixture
def numbers() -> pa.Table:
    """Several pieces of a stream, in one chunk."""
    return pa.table({"a": np.arange(300_000, dtype=np.int32)})


@pytest.fixture
def many() -> pa.Table:
    """Several pieces of `run`, in one chunk."""
    return pa.table({"a": np.arange(2_500_000, dtype=np.int32)})


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def runtime(request):
    """A runtime of its own, whose memory must be back when the test is over."""
    runtime = unlade.Runtime(devices=["cpu"], threads=request.param)
    yield runtime
    gc.collect()
    assert runtime.memory()["leased"] == 0


def addresses(array) -> list[int | None]:
    """Where the buffers of an Arrow array lie."""
    buffers = pa.array(array).buffers() if not isinstance(array, pa.Array) else array.buffers()
    return [buffer and buffer.address for buffer in buffers]


def values_at(array: pa.Array) -> int:
    """Where the values of an array of fixed width begin."""
    width = array.type.bit_width // 8
    return array.buffers()[1].address + array.offset * width
