"""Queries, and what comes of them."""

import asyncio
import ctypes
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import unlade


def test_a_query_filters_and_projects(batch):
    kernel = unlade.compile(batch, filter="id > 3", select="name, id * 2 as twice")
    output = kernel.run(batch)
    assert pa.table(output).to_pylist() == [
        {"name": "bob", "twice": 10},
        {"name": None, "twice": 18},
    ]
    assert kernel.schema.names == ["name", "twice"]
    assert kernel.input_columns == ["id", "name"]
    assert pa.schema(kernel.schema) == pa.table(output).schema


def test_columns_may_be_listed_one_by_one(batch):
    one = unlade.run(batch, select=["id", "price + 1 as more"])
    assert pa.table(one).to_pydict() == {"id": [1, 5, 9], "more": [1.5, None, 3.5]}


def test_a_schema_is_enough_to_compile(batch):
    kernel = unlade.compile(batch.schema, filter="id = 5")
    assert kernel(batch).num_rows == 1
    assert pa.schema(kernel.input_schema) == batch.schema


def test_a_table_gives_its_pieces_in_order(runtime, many):
    kernel = runtime.compile(many, filter="a % 3 = 0")
    output = kernel.run(many)
    assert len(output.batches) > 1
    assert [receipt.batch for receipt in output.receipts] == list(range(len(output.batches)))
    assert sum(receipt.rows_in for receipt in output.receipts) == many.num_rows
    assert pa.table(output)["a"].to_numpy().tolist() == list(range(0, 2_500_000, 3))
    with pytest.raises(unlade.ConfigError, match="see `batches`"):
        _ = output.batch


def test_an_empty_table_gives_an_empty_one(runtime):
    empty = pa.table({"a": pa.array([], pa.int64())})
    output = runtime.compile(empty, filter="a > 1", select="a, a + 1 as b").run(empty)
    assert output.num_rows == 0
    assert pa.table(output).schema.names == ["a", "b"]


def test_the_mask_says_which_rows_are_kept(batch):
    output = unlade.run(batch, filter="id > 3", mask=True)
    assert pa.array(output.masks[0]).to_pylist() == [False, True, True]


def test_rules_are_chosen_by_name():
    data = pa.record_batch({"x": [float("nan"), 1.0, -1.0]})
    assert unlade.run(data, filter="x > 2").num_rows == 1
    assert unlade.run(data, filter="x > 2", float_order="ieee").num_rows == 0
    infinite = unlade.run(data, select="x / 0 as y")
    assert pa.table(infinite)["y"].to_pylist()[1:] == [float("inf"), float("-inf")]
    missing = unlade.run(data, select="x / 0 as y", semantics="spark-legacy")
    assert pa.table(missing)["y"].to_pylist() == [None, None, None]
    assert pa.table(unlade.run(data, select="x / 0 as y", semantics="spark_legacy")) == pa.table(missing)


def test_overflow_wraps_where_that_is_asked_for():
    data = pa.record_batch({"x": pa.array([2**31 - 1], pa.int32())})
    wrapped = unlade.run(data, select="x + 1 as y", overflow="wrap")
    assert pa.table(wrapped).to_pydict() == {"y": [-(2**31)]}
    with pytest.raises(unlade.TrapError):
        unlade.run(data, select="x + 1 as y")


def test_explain_says_what_runs_where(batch):
    explain = unlade.compile(batch, filter="id > 3").explain()
    assert "cpu" in str(explain)
    assert explain.to_dict()["reads"] == ["id", "name", "price"]


def test_functions_are_listed_with_examples_that_run():
    forms = unlade.functions()
    assert {"name", "syntax", "nulls", "example"} <= set(forms[0])
    columns = pa.schema(
        [
            ("a", pa.int32()),
            ("b", pa.int64()),
            ("f", pa.float64()),
            ("p", pa.bool_()),
            ("price", pa.decimal128(12, 2)),
            ("day", pa.date32()),
            ("at", pa.timestamp("us")),
        ]
    )
    for form in forms:
        unlade.compile(columns, select=f"{form['example']} as x")


def test_one_of_ours_is_data_for_another_kernel(batch):
    first = unlade.run(batch, filter="id > 1")
    again = unlade.run(first.batch, filter="id > 5")
    assert pa.table(again)["id"].to_pylist() == [9]
    through = unlade.run(first, filter="id > 5")
    assert pa.table(through) == pa.table(again)


@pytest.fixture
def of():
    """What calls are of."""
    data = pa.record_batch({"id": [1, 5, 9]})
    runtime = unlade.Runtime(devices=["cpu"], threads=1)
    return SimpleNamespace(batch=unlade.Batch(data), runtime=runtime, kernel=runtime.compile(data, filter="id > 3"))


class TestErrors:
    def test_syntax_is_shown_in_its_text(self, batch):
        with pytest.raises(unlade.CompileError) as caught:
            unlade.compile(batch, filter="id >")
        assert caught.value.kind == "syntax"
        assert "id >" in str(caught.value)
        assert "^" in caught.value.rendered

    def test_a_column_that_is_not_there(self, batch):
        with pytest.raises(unlade.CompileError) as caught:
            unlade.compile(batch, select="nam")
        assert caught.value.kind == "unknown"
        assert caught.value.clause == "select"
        assert "name" in caught.value.help

    def test_a_trap_says_which_row_and_why(self, batch):
        with pytest.raises(unlade.TrapError) as caught:
            unlade.run(batch, select="10 / (id - 5) as x")
        error = caught.value
        assert (error.row, error.operation, error.spark_class) == (1, "10 / (id - 5)", None)
        assert "divides by zero" in str(error)
        assert isinstance(error, ArithmeticError)

    def test_rows_of_a_trap_are_those_of_the_whole_table(self, runtime, many):
        kernel = runtime.compile(many, select="10 / (a - 2222222) as x")
        with pytest.raises(unlade.TrapError) as caught:
            kernel.run(many)
        assert caught.value.row == 2_222_222
        assert "row 2222222:" in str(caught.value)
        with pytest.raises(unlade.TrapError) as caught:
            for _output in kernel.stream(many, batch_rows=100_000):
                pass
        assert caught.value.row == 2_222_222

    def test_sparks_classes(self, batch):
        with pytest.raises(unlade.TrapError) as caught:
            unlade.run(batch, select="1 / (id - 5) as x", semantics="spark-ansi")
        assert caught.value.spark_class == "DIVIDE_BY_ZERO"

    def test_data_of_another_schema(self, batch):
        kernel = unlade.compile(batch, filter="id > 3")
        with pytest.raises(unlade.SchemaError, match="columns"):
            kernel.run(batch.select(["id"]))
        with pytest.raises(unlade.SchemaError, match="`id`"):
            kernel.run(batch.set_column(0, "id", pa.array([1, 2, 3], pa.int64())))

    def test_columns_in_another_order(self, batch):
        numbers = pa.record_batch({"a": [3], "b": [10]})
        kernel = unlade.compile(numbers, select="a - b as c")
        turned = numbers.select(["b", "a"])
        pinned = unlade.runtime().pin(turned)
        for run in (
            lambda: kernel.run(turned),
            lambda: kernel.run(pa.table(turned)),
            lambda: kernel.submit(turned),
            lambda: kernel.stream(pa.table(turned)),
            lambda: kernel.run_resident(pinned),
        ):
            with pytest.raises(unlade.SchemaError, match="column 0 is `b`, and `a` in the schema"):
                run()
        # One that is not read may have any name.
        reads_one = unlade.compile(numbers, select="a + 1 as c")
        assert reads_one.run(numbers.rename_columns(["a", "other"])).num_rows == 1

    def test_what_is_no_arrow_data(self, batch):
        with pytest.raises(TypeError, match=r"list has no Arrow PyCapsule interface"):
            unlade.run([1, 2, 3], filter="id > 3")
        with pytest.raises(TypeError, match="one array of Int64"):
            unlade.run(pa.array([1, 2]), filter="id > 3")

    def test_options_that_are_none(self, batch):
        with pytest.raises(unlade.ConfigError, match="`trap` or `wrap`, not `explode`"):
            unlade.compile(batch, filter="id > 3", overflow="explode")
        with pytest.raises(unlade.ConfigError, match="semantics"):
            unlade.compile(batch, filter="id > 3", semantics="postgres")
        with pytest.raises(unlade.ConfigError, match="no device `gpu:7`; there are: cpu"):
            unlade.Runtime(devices=["gpu:7"])

    @pytest.mark.parametrize(
        "call, message",
        [
            (lambda of: unlade.Runtime(threads=-1), "threads is a whole number of at most .*, and not below zero: not -1"),
            (lambda of: unlade.Runtime(threads=10**30), "threads is a whole number of at most .*, and not below zero: not "),
            (lambda of: unlade.Runtime(threads=0), "^0 threads compute nothing"),
            (lambda of: unlade.Runtime(memory_budget=0), "^memory_budget is 0 bytes.*leave it out"),
            (lambda of: unlade.Runtime(device_timeout=-0.5), "^device_timeout is a number of seconds.*, not -0.5"),
            (lambda of: of.runtime.session("x", weight=-1), "^weight is a whole number of at most 4294967295, and not below zero: not -1"),
            (lambda of: of.runtime.session("x", weight=1 << 32), "^weight is a whole number of at most 4294967295, and not below zero: not"),
            (lambda of: of.runtime.session("x", memory_budget=0), "^memory_budget is 0 bytes"),
            (lambda of: of.runtime.session("x", deadline=float("nan")), "^deadline is a number of seconds.*, not NaN"),
            (lambda of: of.runtime.session("x", devices=["gpu=x"]), "^`x` in `gpu=x` is no number of devices"),
            (lambda of: of.runtime.shutdown(within=-1), "^within is a number of seconds"),
            (lambda of: of.kernel.submit(of.batch).wait(timeout=-1), "^timeout is a number of seconds.*, not -1"),
            (lambda of: of.kernel.stream(of.batch, batch_rows=-1), "^batch_rows is a whole number of at most .*, and not below zero: not -1"),
            (lambda of: unlade.Runtime(devices=["cpu", "sim"], device="gpu"), "^there is no device `gpu`; there is cpu, sim$"),
            # A wheel has no simulated card, and offers none.
            (lambda of: unlade.Runtime(devices=["gpu"]), "by name sim-gpu, dpu:unix:PATH and dpu:PCI-ADDRESS"),
        ],
    )
    def test_values_of_options_that_cannot_be(self, of, call, message):
        with pytest.raises(unlade.ConfigError, match=message):
            call(of)

    @pytest.mark.parametrize(
        "call, message",
        [
            (lambda of: unlade.Runtime(devices="cpu"), r"expected a list of names such as \[\"cpu\"\], not 'cpu'"),
            (lambda of: unlade.Runtime(devices=["cpu", 1]), r"a list of names .*, not 1 \(int\)"),
            (lambda of: unlade.Runtime(threads=1.5), r"expected a whole number, not 1.5 \(float\)"),
            (lambda of: of.runtime.session("x", weight="2"), r"expected a whole number, not '2' \(str\)"),
            (lambda of: of.runtime.session("x", devices="gpu"), "a list of names"),
            (lambda of: of.runtime.register_function("f", pa.int64(), pa.int64(), len), "a list of types such as"),
            (lambda of: of.batch[0:1], r"a column's name or position; for rows, .*, not slice\(0, 1, None\)"),
            (lambda of: of.batch[1.5], r"a column's name or position, not 1.5 \(float\)"),
            (lambda of: unlade.compile(of.batch, select=[1]), r"a list of text such as .*, or a dictionary.*, not 1 \(int\)"),
            (lambda of: unlade.compile(of.batch, select={1: "id"}), r"expected the name of a column, not 1 \(int\)"),
            (lambda of: unlade.compile(of.batch, filter=1), r"expected an expression: text, .*, not 1 \(int\)"),
        ],
    )
    def test_arguments_of_another_type(self, of, call, message):
        with pytest.raises(TypeError, match=message) as caught:
            call(of)
        assert "extract" not in str(caught.value)

    def test_more_threads_than_there_can_be(self):
        with pytest.raises(unlade.LimitError, match="threads: 1000000000 is more than the limit"):
            unlade.Runtime(threads=10**9)

    def test_columns_that_differ_are_named(self, batch):
        kernel = unlade.compile(batch, filter="id > 3")
        with pytest.raises(unlade.SchemaError, match="; it lacks `price`; compile for"):
            kernel.run(batch.select(["id", "name"]))
        with pytest.raises(unlade.SchemaError, match="`id`.* is Int64, .* Int32; cast it"):
            kernel.run(batch.set_column(0, "id", pa.array([1, 2, 3])))

    def test_values_that_cannot_be_name_their_column(self):
        keys = pa.DictionaryArray.from_arrays(pa.array([0, 99], pa.int8()), ["x", "y"], safe=False)
        ends = pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes())
        text = pa.Array.from_buffers(pa.utf8(), 2, [None, ends, pa.py_buffer(b"\xff\xfe")])
        nested = pa.StructArray.from_arrays([text], ["inner"])
        for name, column, fix in [
            ("k", keys, "each key has to be the place of a value"),
            ("t", text, "binary"),
            ("n", nested, "binary"),
        ]:
            data = pa.record_batch({"a": [1, 2], name: column})
            kernel = unlade.compile(data.schema, filter="a > 1", check_values=True)
            for given in (data, pa.Table.from_batches([data])):
                with pytest.raises(unlade.Error, match=f"in `{name}`.*{fix}"):
                    kernel.run(given)

    def test_memory_that_is_used_up(self):
        runtime = unlade.Runtime(devices=["cpu"], threads=1, memory_budget=1 << 20, pool_reserve=1 << 20)
        data = pa.record_batch({"a": pa.array(range(100_000), pa.int64())})
        kernel = runtime.compile(data, filter="a > 0")
        outputs = []
        with pytest.raises(unlade.Exhausted) as caught:
            for _ in range(4):
                outputs.append(kernel.run(data))
        assert caught.value.budget == 1 << 20
        assert caught.value.holders
        assert isinstance(caught.value, MemoryError)
        outputs.clear()
        assert kernel.run(data).num_rows == 99_999

    def test_every_error_is_one_of_ours_and_can_be_sent_elsewhere(self, batch):
        raised = []
        for query in [{"filter": "id >"}, {"select": "10 / (id - 5) as x"}]:
            with pytest.raises(unlade.Error) as caught:
                unlade.run(batch, **query)
            raised.append(caught.value)
        for error in raised:
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


class TestReceipts:
    def test_what_a_batch_cost(self, batch):
        output = unlade.run(batch, filter="id > 3", select="id")
        receipt = output.receipt
        assert (receipt.rows_in, receipt.rows_out, receipt.bytes_out) == (3, 2, 8)
        assert receipt.bytes_copied == 8
        assert receipt.taken_ns > 0
        assert receipt.taken_clock == "wall"
        assert receipt.verified == "reference"
        (part,) = receipt.parts
        assert (part.device, part.path, part.rows) == ("cpu", "inline", 3)
        assert part.completed
        as_dict = receipt.to_dict()
        assert as_dict["rows_out"] == 2
        assert as_dict["parts"][0]["device"] == "cpu"

    def test_how_it_is_shown(self, batch):
        output = unlade.run(batch, filter="id > 3")
        assert "2 of 3 rows" in repr(output.receipt)
        html = output._repr_html_()
        assert html.count("<table>") == 1
        assert "2 rows in 1 batches" in html
        assert output.receipt._repr_html_() in html

    def test_every_field_of_the_json_form_is_an_attribute(self, batch):
        receipt = unlade.run(batch, filter="id > 3").receipt
        for name, value in receipt.to_dict().items():
            if name != "parts":
                assert getattr(receipt, name) == value
        for name, value in receipt.to_dict()["parts"][0].items():
            if name != "reason":
                assert getattr(receipt.parts[0], name) == value


class TestDevices:
    def test_those_of_the_shared_runtime(self):
        devices = {device["name"]: device for device in unlade.devices()}
        assert devices["cpu"]["state"] == "ready"
        assert unlade.runtime().threads >= 1

    def test_a_device_by_name(self, batch):
        with unlade.Runtime(devices=["cpu", "sim"], device="sim", threads=1) as runtime:
            kernel = runtime.compile(batch, filter="id > 3", select="id, id + 1 as more")
            output = kernel.run(batch)
            (part,) = output.receipt.parts
            assert (part.device, part.path, part.clock) == ("sim", "queued", "virtual")
            assert part.compute_ns > 0
            assert output.receipt.verified == "unverified"
            assert pa.table(output).to_pydict() == {"id": [5, 9], "more": [6, 10]}

    def test_data_that_stays_on_a_device(self, batch):
        with unlade.Runtime(devices=["cpu", "sim"], device="sim", threads=1) as runtime:
            resident = runtime.pin(pa.Table.from_batches([batch, batch]), device="sim")
            assert (resident.device, resident.batches_on_device) == ("sim", 2)
            output = runtime.compile(batch, filter="id > 3", select="id").run_resident(resident)
            assert pa.table(output)["id"].to_pylist() == [5, 9, 5, 9]
            assert all(receipt.bytes_to_device < 8 for receipt in output.receipts)

    def test_a_column_on_a_device_tells_where_it_is(self, batch):
        with unlade.Runtime(devices=["cpu", "sim"], device="sim", threads=1) as runtime:
            resident = runtime.pin(pa.Table.from_batches([batch, batch]), device="sim")
            column = resident.column("id", batch=1)
            assert (column.name, column.type, column.device, len(column)) == ("id", "int", "sim", 3)
            assert repr(column) == "ResidentColumn(id: int, 3 rows on sim)"
            # Its addresses are its own, and no CUDA.
            assert not hasattr(column, "__cuda_array_interface__")
            with pytest.raises(KeyError, match="no column `nobody`"):
                resident.column("nobody")
            with pytest.raises(unlade.ConfigError, match="batch 2: there are 2"):
                resident.column("id", batch=2)
            # Arrow and DLPack know it as an external device, by its place in the runtime.
            assert column.__dlpack_device__() == (12, 1)
            with pytest.raises((BufferError, RuntimeError), match="(?i)device"):
                np.from_dlpack(column)
            price = resident.column("price")
            assert price.null_count == 1
            with pytest.raises(BufferError, match="1 nulls"):
                price.__dlpack__(max_version=(1, 0))
            with pytest.raises(NotImplementedError, match="stream=7"):
                price.__arrow_c_device_array__(stream=7)
            with pytest.raises(unlade.ConfigError, match="neither of fixed width"):
                lists = runtime.pin(pa.table({"l": [[1], [2, 3]]}), device="sim")
                lists.column("l")
        with unlade.Runtime(devices=["cpu"]) as runtime:
            with pytest.raises(unlade.ConfigError, match="in the host's memory"):
                runtime.pin(batch).column("id")

    def test_a_column_on_a_gpu_is_one_of_its_memory(self):
        """Read back with the driver's own function, in a process whose only driver is simulated."""
        script = """
import ctypes, os
import numpy as np, pyarrow as pa
import unlade

numbers = np.arange(5000, dtype=np.float64) * 0.5
batch = pa.record_batch({"flag": pa.array([True] * 5000), "x": numbers})
runtime = unlade.Runtime(devices=["cpu", "sim-gpu"], threads=1)
resident = runtime.pin(batch, device="sim-gpu")
assert unlade.Runtime(devices=["sim-gpu", "cpu"], device="sim-gpu").compile(batch, filter="x > 1").run(
    batch
).receipt.parts[0].device == "sim-gpu:0"
column = resident.column("x")
interface = column.__cuda_array_interface__
address, read_only = interface.pop("data")
assert interface == {
    "shape": (5000,), "typestr": "<f8", "strides": None, "stream": None, "version": 3
}, interface
assert read_only
driver = ctypes.CDLL(os.environ["UNLADE_SIM_GPU_LIBRARY"])
device, context = ctypes.c_int(), ctypes.c_void_p()
assert driver.cuDeviceGet(ctypes.byref(device), 0) == 0
assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
assert driver.cuCtxSetCurrent(context) == 0

def read(address, dtype, count):
    back = np.empty(count, dtype)
    assert driver.cuMemcpyDtoH_v2(
        back.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(address), ctypes.c_size_t(back.nbytes)
    ) == 0
    return back

np.testing.assert_array_equal(read(address, np.float64, 5000), numbers)

# The same by DLPack: a tensor of its 5000 doubles, on CUDA device 0, to be read alone.
pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
capsule = column.__dlpack__(stream=1, max_version=(1, 0), dl_device=(2, 0))
words = (ctypes.c_uint64 * 10).from_address(pointer(capsule, b"dltensor_versioned"))
flags, data, device, of = words[3], words[4], words[5], words[6]
assert (flags, data, device) == (1, address, 2)
assert of == 1 | 2 << 32 | 64 << 40 | 1 << 48, hex(of)
assert ctypes.c_int64.from_address(words[7]).value == 5000
assert not hasattr(resident.column("flag"), "__cuda_array_interface__")

# Strings, nulls and a dictionary, as Arrow's array on the device.
texts = pa.array(["one", None, "three"] * 100)
kinds = pa.array(["a", "bb", "bb"] * 100).dictionary_encode()
table = pa.table({"text": texts, "kind": kinds}).slice(1, 200)
pinned = runtime.pin(table, device="sim-gpu:0")

class Array(ctypes.Structure):
    pass

Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "nulls", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_uint64)), ("children", ctypes.c_void_p),
    ("dictionary", ctypes.POINTER(Array)), ("release", ctypes.c_void_p), ("private", ctypes.c_void_p),
]

class DeviceArray(ctypes.Structure):
    _fields_ = [("array", Array), ("id", ctypes.c_int64), ("type", ctypes.c_int32), ("event", ctypes.c_void_p)]

def exported(name):
    column = pinned.column(name)
    schema, capsule = column.__arrow_c_device_array__()
    assert pa.Field._import_from_c_capsule(schema) == table.schema.field(name)
    there = DeviceArray.from_address(pointer(capsule, b"arrow_device_array"))
    assert (there.type, there.id, there.event) == (2, 0, None)
    return capsule, there.array

def strings(array):
    ends = read(array.buffers[1], np.int32, array.length + 1)
    assert ends[0] == 0
    text = read(array.buffers[2], np.uint8, int(ends[-1])).tobytes().decode()
    return [text[ends[row]:ends[row + 1]] for row in range(array.length)]

def valid(array):
    bits = read(array.buffers[0], np.uint8, (array.length + 7) // 8)
    return np.unpackbits(bits, bitorder="little")[: array.length].astype(bool).tolist()

held, text = exported("text")
assert (text.length, text.offset, text.n_buffers) == (200, 0, 3)
got = [value if there else None for value, there in zip(strings(text), valid(text))]
assert got == table["text"].to_pylist()
held_too, kind = exported("kind")
keys = read(kind.buffers[1], np.int32, 200)
values = strings(kind.dictionary.contents)
assert [values[key] for key in keys] == table["kind"].to_pylist()
# Both are there until they are let go of, whatever else is.
del pinned, held_too
assert strings(text)[1] == "three"
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

    def test_a_runtime_ends_with_its_block(self, batch):
        with unlade.Runtime(devices=["cpu"]) as runtime:
            kernel = runtime.compile(batch, filter="id > 3")
            assert kernel.run(batch).num_rows == 2
        with pytest.raises(unlade.Shutdown):
            kernel.run(batch)


class TestSessions:
    def test_a_session_has_a_share_and_an_end(self, runtime, batch):
        with runtime.session("report", weight=2, priority="background", memory_budget=1 << 20) as session:
            kernel = session.compile(batch, filter="id > 3")
            assert kernel.run(batch).num_rows == 2
            status = session.status()
            assert (status["label"], status["weight"], status["batches"]) == ("report", 2, 1)
            assert status["device_time_ns"] >= 0
            assert len(runtime.sessions()) == 2
        assert session.cancelled
        with pytest.raises(unlade.Cancelled):
            kernel.run(batch)

    def test_a_deadline(self, runtime, batch):
        session = runtime.session("late", deadline=0)
        kernel = session.compile(batch, filter="id > 3")
        with pytest.raises(unlade.DeadlineExceeded) as caught:
            kernel.run(batch)
        assert caught.value.session == "late"

    def test_devices_that_cannot_be_had(self, runtime):
        with pytest.raises(unlade.Refused) as caught:
            runtime.session("wants a card", devices=["dpu=0.5"])
        assert caught.value.asked == "dpu=0.5"
        assert "there is no `dpu`" in caught.value.reason

    def test_options_that_are_none(self, runtime):
        with pytest.raises(unlade.ConfigError, match="priority"):
            runtime.session("x", priority="urgent")
        with pytest.raises(unlade.ConfigError, match="seconds"):
            runtime.session("x", deadline=-1)


def test_what_it_logs_goes_to_pythons_logging(tmp_path, caplog):
    spoilt = tmp_path / "calibration.json"
    spoilt.write_text("no JSON")
    with caplog.at_level("WARNING"):
        unlade.Runtime(devices=["cpu", "sim"], calibration=spoilt)
    (record,) = (record for record in caplog.records if record.name.startswith("unlade_runtime"))
    assert record.levelname == "WARNING"
    assert str(spoilt) in record.getMessage()


class TestMalformedData:
    """What comes from others is looked at."""

    def strings(self, offsets, text):
        offsets = pa.py_buffer(np.array(offsets, np.int32).tobytes())
        return pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(text)])

    def test_offsets_that_go_back(self, runtime):
        wrong = pa.record_batch({"s": self.strings([0, 5, 2, 9], b"abcdefghi")})
        kernel = runtime.compile(wrong.schema, select="s")
        for run in (kernel.run, kernel.submit, lambda data: asyncio.run(kernel.run_async(data))):
            with pytest.raises(unlade.DataFormatError, match="in `s`"):
                run(wrong)
        with pytest.raises(unlade.InputError, match="in `s`"):
            kernel.run(pa.Table.from_batches([wrong]))

    def test_values_by_option(self, runtime):
        wrong = pa.record_batch({"s": self.strings([0, 1, 2, 3], b"\xff\xfe\xfd")})
        trusting = runtime.compile(wrong.schema, select="s")
        assert pa.table(trusting.run(wrong))["s"].cast(pa.binary()).to_pylist()[0] == b"\xff"
        looking = runtime.session("looks").compile(wrong.schema, select="s", check_values=True)
        for run in (looking.run, looking.submit, lambda data: asyncio.run(looking.run_async(data))):
            with pytest.raises(unlade.DataFormatError, match="(?i)utf"):
                run(wrong)
        for run in (looking.run, lambda data: next(looking.stream(data))):
            with pytest.raises(unlade.InputError, match="(?i)utf"):
                run(pa.Table.from_batches([wrong]))

    def test_counts_that_cannot_be(self, runtime):
        """Of a struct that another library may have made."""
        batch = pa.record_batch({"s": ["a", "b"]})
        kernel = runtime.compile(batch, select="s")
        # Of the C struct: length, null_count, offset, n_buffers, n_children.
        for field, value in ((0, -1), (0, 1 << 60), (1, 7), (2, -3), (3, 0), (4, 0)):
            schema, array = batch.__arrow_c_array__()
            of = pointer_of(array, b"arrow_array")
            whole = (ctypes.c_int64 * 5).from_address(of)
            whole[field] = value

            class Given:
                def __arrow_c_array__(self, requested_schema=None):
                    return schema, array

            with pytest.raises(unlade.DataFormatError):
                kernel.run(Given())


def pointer_of(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


def test_a_runtime_needs_a_device_and_says_so_in_pythons_words():
    with pytest.raises(unlade.ConfigError, match=r"name one at least, such as \[\"cpu\"\]"):
        unlade.Runtime(devices=[])
    with pytest.raises(unlade.CompileError) as refused:
        unlade.compile(pa.schema([("a", pa.int64())]), filter="quarkify(a) > 1")
    assert "`unlade.functions()` in Python" in refused.value.help
