"""Data in and out by address: nothing of it is copied."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import addresses, values_at

import unlade

ROWS = 50_000


def passed_through(data):
    """The column `a` as a kernel hands it on that keeps every row."""
    return unlade.run(data, select="a")


def test_a_pyarrow_batch_in_and_out():
    batch = pa.record_batch({"a": np.arange(ROWS), "s": ["text"] * ROWS})
    output = unlade.run(batch, select="s, a")
    back = pa.record_batch(output.batch)
    for name in ("a", "s"):
        assert addresses(back[name]) == addresses(batch[name])
    assert output.receipt.bytes_copied == 0
    assert output.bytes_realigned == 0


def test_a_slice_of_a_batch():
    whole = pa.record_batch({"a": np.arange(ROWS)})
    part = whole.slice(777, 1000)
    back = pa.record_batch(passed_through(part).batch)
    assert back == part
    assert values_at(back["a"]) == values_at(whole["a"]) + 777 * 8


def test_slices_of_structs_in_structs():
    rows = [{"t": {"x": row, "s": str(row)}, "l": [{"y": row}]} for row in range(9)]
    fixed = pa.array([[{"z": row}] for row in range(9)], pa.list_(pa.struct({"z": pa.int64()}), 1))
    batch = pa.record_batch({"a": range(9), "s": rows, "f": fixed})
    for start, length in [(0, 9), (3, 4), (5, 4), (8, 1)]:
        part = batch.slice(start, length)
        for given in (part, pa.Table.from_batches([part]), part.slice(0, length)):
            assert pa.table(passed_through_all(given)).to_pylist() == part.to_pylist()
        kept = unlade.run(part, filter="a > 4")
        assert pa.table(kept).to_pylist() == [row for row in part.to_pylist() if row["a"] > 4]


def passed_through_all(data):
    return unlade.run(data, select="a, s, f")


def test_a_pyarrow_table_in_pieces():
    table = pa.table({"a": np.arange(200_000)})
    back = pa.table(passed_through(table))
    first = table["a"].chunk(0)
    rows = 0
    for chunk in back["a"].chunks:
        assert values_at(chunk) == values_at(first) + 8 * rows
        rows += len(chunk)
    assert rows == len(table)


def test_what_a_filter_keeps_is_read_where_it_was_computed():
    batch = pa.record_batch({"a": np.arange(ROWS)})
    output = unlade.run(batch, filter="a % 2 = 0")
    array = pa.record_batch(output.batch)["a"]
    tensor = np.from_dlpack(output.batch["a"])
    assert values_at(array) == tensor.ctypes.data
    assert output.receipt.bytes_copied == output.receipt.bytes_out
    assert values_at(pa.table(output)["a"].chunk(0)) == tensor.ctypes.data


def test_a_polars_frame_in_and_out():
    frame = pl.DataFrame({"a": np.arange(ROWS)})
    address = frame["a"].to_numpy(allow_copy=False).ctypes.data
    output = passed_through(frame)
    assert values_at(pa.table(output)["a"].chunk(0)) == address
    back = pl.DataFrame(output)
    assert back["a"].to_numpy(allow_copy=False).ctypes.data == address
    assert back.equals(frame)


def test_a_polars_frame_of_many_types():
    frame = pl.DataFrame(
        {
            "a": pl.Series([1, None, 3], dtype=pl.Int16),
            "day": pl.Series([0, 1, 2], dtype=pl.Int32).cast(pl.Date),
            "text": ["x", None, "long enough not to be inlined"],
        }
    )
    kept = pl.DataFrame(unlade.run(frame, filter="a > 1 or a is null"))
    assert kept.equals(frame[1:])


def test_a_result_of_duckdb_in():
    connection = duckdb.connect()
    seen = []
    reader = connection.sql("SELECT range AS a FROM range(100000)").to_arrow_reader(30_000)

    def watched():
        for batch in reader:
            seen.append((values_at(batch["a"]), len(batch)))
            yield batch

    stream = unlade.compile(reader.schema, select="a").stream(
        pa.RecordBatchReader.from_batches(reader.schema, watched())
    )
    got = [pa.record_batch(output.batch)["a"] for output in stream]
    assert [(values_at(array), len(array)) for array in got] == seen
    assert sum(len(array) for array in got) == 100_000


def test_a_relation_of_duckdb_by_itself():
    connection = duckdb.connect()
    relation = connection.sql("SELECT range AS a FROM range(1000)")
    kept = unlade.run(relation, filter="a >= 990")
    assert pa.table(kept)["a"].to_pylist() == list(range(990, 1000))


def test_a_source_is_opened_once():
    opened = 0

    class Opened:
        def __arrow_c_stream__(self, requested_schema=None):
            nonlocal opened
            opened += 1
            return pa.table({"a": [1, 2, 3]}).__arrow_c_stream__()

    assert unlade.run(Opened(), filter="a > 1").num_rows == 2
    assert opened == 1
    source = unlade.Source(Opened())
    assert source.schema.names == ["a"]
    kernel = unlade.compile(source, filter="a > 2")
    assert kernel.run(source).num_rows == 1
    assert opened == 2
    with pytest.raises(unlade.ConfigError, match="read already"):
        kernel.run(source)


def test_duckdb_reads_an_output():
    output = unlade.run(pa.table({"a": np.arange(ROWS)}), filter="a % 2 = 0")
    kept = pa.table(output)
    assert values_at(kept["a"].chunk(0)) == np.from_dlpack(output.batch["a"]).ctypes.data
    connection = duckdb.connect()
    assert connection.sql("SELECT count(*), sum(a) FROM kept").fetchall() == [
        (ROWS // 2, sum(range(0, ROWS, 2)))
    ]


def test_pandas_through_pyarrow():
    frame = pd.DataFrame({"a": np.arange(ROWS), "b": np.arange(ROWS) / 2})
    table = pa.Table.from_pandas(frame)
    output = unlade.run(table, select="a, b")
    back = pa.table(output)
    for name in ("a", "b"):
        address = frame[name].to_numpy().ctypes.data
        assert values_at(table[name].chunk(0)) == address
        assert values_at(back[name].chunk(0)) == address
    assert unlade.run(frame, filter="a < 10").num_rows == 10


def test_a_buffer_that_is_not_aligned_is_copied_and_counted():
    raw = np.zeros(8 * 100 + 1, dtype=np.uint8)
    raw[1:] = np.arange(100).view(np.uint8)
    buffer = pa.py_buffer(raw).slice(1)
    array = pa.Array.from_buffers(pa.int64(), 100, [None, buffer])
    assert array.buffers()[1].address % 8 != 0
    batch = pa.record_batch({"a": array})
    output = passed_through(batch)
    assert output.bytes_realigned == 800
    assert pa.table(output)["a"].to_pylist() == list(range(100))
    table = pa.Table.from_batches([batch, batch])
    assert passed_through(table).bytes_realigned == 1600
    streamed = unlade.compile(table, select="a").stream(table)
    assert sum(output.bytes_realigned for output in streamed) == 1600


@pytest.mark.parametrize("of, width", [(pa.utf8(), np.int32), (pa.large_utf8(), np.int64), (pa.binary(), np.int32)])
def test_offsets_that_are_not_aligned_are_copied_and_counted(of, width):
    offsets = b"\0" + np.array([0, 1, 3, 6], dtype=width).tobytes()
    buffers = [None, pa.py_buffer(offsets).slice(1), pa.py_buffer(b"abcdef")]
    strings = pa.Array.from_buffers(of, 3, buffers)
    assert strings.buffers()[1].address % 4 != 0
    keys = pa.DictionaryArray.from_arrays([2, 0, 1], strings)
    lists = pa.ListArray.from_arrays([0, 1, 1, 3], strings)
    batch = pa.record_batch({"n": [1, 2, 3], "s": strings, "d": keys, "l": lists})
    output = unlade.run(batch, filter="n > 1")
    assert output.bytes_realigned == 3 * 4 * np.dtype(width).itemsize
    assert pa.table(output).to_pylist() == batch.slice(1).to_pylist()
    wrong = b"\0" + np.array([0, 5, 3, 6], dtype=width).tobytes()
    strings = pa.Array.from_buffers(of, 3, [None, pa.py_buffer(wrong).slice(1), pa.py_buffer(b"abcdef")])
    with pytest.raises(unlade.DataFormatError, match="`s`.*do not ascend"):
        unlade.run(pa.record_batch({"s": strings}), select="s")


def test_a_column_of_nulls_of_polars_comes_in():
    frame = pl.DataFrame({"a": [1, 2, 3], "nothing": [None, None, None]})
    assert frame.schema["nothing"] == pl.Null
    kept = pl.DataFrame(unlade.run(frame, filter="a > 1"))
    assert kept.equals(frame.slice(1))


class TestTensors:
    def test_a_column_is_a_numpy_array_on_the_same_memory(self):
        output = unlade.run(pa.record_batch({"a": np.arange(10.0)}), filter="a > 2", select="a, a * 2 as b")
        column = output.batch["a"]
        tensor = np.from_dlpack(column)
        assert tensor.tolist() == [3, 4, 5, 6, 7, 8, 9]
        assert tensor.ctypes.data == column.to_numpy().ctypes.data
        assert column.__dlpack_device__() == (1, 0)

    def test_it_may_only_be_read(self):
        tensor = unlade.run(pa.record_batch({"a": [1, 2, 3]}), filter="a > 1").batch["a"].to_numpy()
        assert not tensor.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            tensor[0] = 5

    def test_it_keeps_the_memory(self, runtime):
        data = pa.record_batch({"a": np.arange(1000)})
        output = runtime.compile(data, filter="a >= 500").run(data)
        tensor = np.from_dlpack(output.batch["a"])
        del output
        assert runtime.memory()["leased"] > 0
        assert tensor.sum() == sum(range(500, 1000))
        del tensor
        assert runtime.memory()["leased"] == 0

    @pytest.mark.parametrize(
        "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
    )
    def test_every_number_of_8_to_64_bits(self, dtype):
        values = np.arange(5).astype(dtype)
        tensor = unlade.Batch(pa.record_batch({"a": values}))["a"].to_numpy()
        assert tensor.dtype == dtype
        assert tensor.tolist() == values.tolist()

    def test_a_slice_begins_where_it_begins(self):
        batch = pa.record_batch({"a": np.arange(100, dtype=np.int16)}).slice(33, 5)
        assert unlade.Batch(batch)["a"].to_numpy().tolist() == [33, 34, 35, 36, 37]

    def test_what_is_no_tensor(self):
        batch = unlade.Batch(pa.record_batch({"n": [1, None], "s": ["x", "y"]}))
        with pytest.raises(BufferError, match="1 nulls"):
            np.from_dlpack(batch["n"])
        with pytest.raises(BufferError, match="integers of 8 to 64 bits"):
            np.from_dlpack(batch["s"])
        whole = unlade.Batch(pa.record_batch({"n": [1, 2]}))["n"]
        with pytest.raises(BufferError, match="only be read"):
            whole.__dlpack__()
        with pytest.raises(BufferError, match="zero-copy"):
            whole.__dlpack__(max_version=(1, 0), copy=True)

    def test_what_is_pinned_and_no_tensor_is_told_what_helps_there(self):
        runtime = unlade.Runtime(devices=["cpu", "sim"], threads=1)
        pinned = runtime.pin(pa.record_batch({"n": [1, None], "s": [True, False], "x": [1, 2]}), device="sim")
        for name, version, what in [("n", (1, 0), "1 nulls"), ("s", (1, 0), "boolean"), ("x", None, "1.0 on")]:
            column = pinned.column(name)
            with pytest.raises(BufferError, match=f"{what}.*__arrow_c_device_array__") as caught:
                column.__dlpack__(max_version=version)
            assert "pyarrow.array" not in str(caught.value) and "query" not in str(caught.value)
            assert len(column.__arrow_c_device_array__()) == 2

    def test_numpy_makes_an_array_of_a_column(self):
        batch = unlade.Batch(pa.record_batch({"n": [1, 2], "nulls": [1, None], "s": ["x", "y"]}))
        column = batch["n"]
        shared = np.asarray(column)
        assert shared.dtype == np.int64 and shared.ctypes.data == column.to_numpy().ctypes.data
        assert np.sqrt(np.asarray(column, dtype=np.float32)).dtype == np.float32
        copied = np.array(column)
        copied[0] = 7
        assert shared.tolist() == [1, 2] and copied.tolist() == [7, 2]
        with pytest.raises(ValueError, match="copy"):
            np.asarray(column, dtype=np.float32, copy=False)
        for name, what in [("nulls", "1 nulls.*pyarrow.array"), ("s", "the column is Utf8.*pyarrow.array")]:
            with pytest.raises(BufferError, match=what):
                np.asarray(batch[name])

    def test_an_empty_column(self):
        empty = unlade.Batch(pa.record_batch({"n": pa.array([], pa.int64())}))["n"]
        assert empty.to_numpy().tolist() == []


class TestBatches:
    def test_columns_by_name_and_position(self, batch):
        ours = unlade.Batch(batch)
        assert (ours.num_rows, ours.num_columns, len(ours)) == (3, 3, 3)
        assert ours["name"].null_count == 1
        assert ours[-1].name == "price"
        assert pa.array(ours[0]).equals(batch["id"])
        assert ours.schema.types == ["int", "Utf8", "double"]
        with pytest.raises(KeyError, match="no column `x`; there is id, name, price"):
            ours["x"]
        with pytest.raises(IndexError):
            ours[3]

    def test_several_batches_are_not_one(self, batch):
        with pytest.raises(unlade.ConfigError, match="several batches"):
            unlade.Batch(pa.Table.from_batches([batch, batch]))

    def test_rows_that_are_null_as_a_whole_are_refused(self):
        rows = pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())]))
        with pytest.raises(unlade.DataFormatError, match="null as a whole"):
            unlade.Batch(rows)

    def test_capsules_are_taken_once(self, batch):
        class Twice:
            def __init__(self):
                self.pair = batch.__arrow_c_array__()

            def __arrow_c_array__(self, requested_schema=None):
                return self.pair

        twice = Twice()
        assert unlade.Batch(twice).num_rows == 3
        with pytest.raises(unlade.DataFormatError, match="taken before"):
            unlade.Batch(twice)
