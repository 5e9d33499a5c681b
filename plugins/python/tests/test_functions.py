"""Functions in Python that queries call."""

import asyncio
import threading

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import unlade


def below(numbers, least):
    """An error on the first row that is below."""
    wrong = pc.index(pc.less(numbers, least), True).as_py()
    if wrong >= 0:
        raise unlade.RowError(f"{numbers[wrong]} is below", wrong)
    return pc.subtract(numbers, least)


def register(runtime, name, function, takes, gives, **options):
    runtime.register_function(name, takes, gives, function, **options)


def test_a_function_is_called_anywhere_in_an_expression(runtime, batch):
    register(runtime, "shout", pc.utf8_upper, [pa.string()], pa.string())
    register(runtime, "bytes", pc.binary_length, [pa.string()], pa.int32())
    kernel = runtime.compile(
        batch,
        filter="bytes(shout(name)) = 3 and id < 9",
        select="shout(name) as loud, id, bytes(name) + 1 as more",
    )
    output = kernel.run(batch)
    assert pa.table(output).to_pylist() == [
        {"loud": "ANN", "id": 1, "more": 4},
        {"loud": "BOB", "id": 5, "more": 4},
    ]
    called = [(call["function"], call["rows"]) for call in output.receipt.calls]
    assert sorted(called) == [("bytes", 3), ("bytes", 3), ("shout", 3)]
    assert "calls shout(name) on cpu" in str(kernel.explain())
    assert kernel.input_columns == ["id", "name"]


@pytest.mark.parametrize("device", ["cpu", "sim"])
def test_a_function_that_mirrors_an_operation_agrees_with_it(device):
    rng = np.random.default_rng(7)
    numbers = pa.array(rng.integers(-1000, 1000, 5000), mask=rng.random(5000) < 0.1)
    data = pa.record_batch({"n": numbers})
    devices = ["cpu"] if device == "cpu" else ["cpu", device]
    with unlade.Runtime(devices=devices, device=device) as runtime:
        register(runtime, "twice", lambda n: pc.multiply(n, 2), [pa.int64()], pa.int64())
        for called, plain in [
            ({"filter": "twice(n) > 10"}, {"filter": "n * 2 > 10"}),
            (
                {"filter": "n % 3 = 0", "select": "twice(n + 1) - n as m"},
                {"filter": "n % 3 = 0", "select": "(n + 1) * 2 - n as m"},
            ),
        ]:
            called = pa.table(runtime.compile(data, **called).run(data))
            assert called == pa.table(runtime.compile(data, **plain).run(data))


def test_what_it_raises_is_the_cause_and_may_name_the_row(runtime):
    register(runtime, "above", below, [pa.int64(), pa.int64()], pa.int64())
    data = pa.record_batch({"n": pa.array([5, 6, 1, 0], pa.int64())})
    kernel = runtime.compile(data, filter="n > 5", select="above(n, 3) as m")
    with pytest.raises(unlade.FunctionError, match="row 2: function `above` failed: .*1 is below") as raised:
        kernel.run(data)
    assert (raised.value.row, raised.value.function) == (2, "above")
    assert isinstance(raised.value.__cause__, unlade.RowError)
    register(runtime, "fails", lambda n: {}["missing"], [pa.int64()], pa.int64())
    with pytest.raises(unlade.FunctionError) as raised:
        runtime.compile(data, select="fails(n) as m").run(data)
    assert raised.value.row is None
    assert isinstance(raised.value.__cause__, KeyError)


def test_the_row_is_that_of_all_the_data(runtime, numbers):
    register(runtime, "above", below, [pa.int64(), pa.int64()], pa.int64())
    data = pa.table({"a": pc.subtract(299_990, numbers["a"].cast(pa.int64()))})
    kernel = runtime.compile(data, select="above(a, 0) as b")
    with pytest.raises(unlade.FunctionError) as raised:
        kernel.run(data)
    assert raised.value.row == 299_991
    with pytest.raises(unlade.FunctionError) as raised:
        for _ in kernel.stream(data, batch_rows=10_000):
            pass
    assert raised.value.row == 299_991


def test_what_ends_the_program_is_no_error_of_a_function(runtime, batch):
    def interrupted(numbers):
        raise KeyboardInterrupt

    register(runtime, "interrupted", interrupted, [pa.int32()], pa.int32())
    with pytest.raises(KeyboardInterrupt):
        runtime.compile(batch, select="interrupted(id) as x").run(batch)


def test_results_are_what_was_promised(runtime, batch):
    def gives(name, result, takes=pa.int32(), of=pa.int32(), **options):
        register(runtime, name, lambda _: result, [takes], of, **options)
        return runtime.compile(batch, select=f"{name}(id) as x").run(batch)

    with pytest.raises(unlade.FunctionError, match="returned 2 rows for 3"):
        gives("short", pa.array([1, 2], pa.int32()))
    with pytest.raises(unlade.FunctionError, match="returned Int64, not Int32"):
        gives("typed", pa.array([1, 2, 3], pa.int64()))
    with pytest.raises(unlade.FunctionError, match="never null") as raised:
        gives("nulls", pa.array([1, None, 3], pa.int32()), nullable=False)
    assert raised.value.row == 1
    with pytest.raises(unlade.FunctionError):
        gives("nothing", None)
    # Of NumPy, a list, and chunks.
    for name, result in [
        ("numpy", np.array([1, 2, 3], np.int32)),
        ("listed", [1, 2, 3]),
        ("chunked", pa.chunked_array([pa.array([1, 2], pa.int32()), pa.array([3], pa.int32())])),
    ]:
        assert pa.table(gives(name, result))["x"].to_pylist() == [1, 2, 3]


def test_arguments_and_results_share_their_memory(runtime):
    seen = []

    def same(numbers):
        seen.append(numbers.buffers()[1].address)
        return numbers

    register(runtime, "same", same, [pa.int64()], pa.int64())
    data = pa.record_batch({"n": pa.array(range(1000), pa.int64())})
    output = runtime.compile(data, select="same(n) as s").run(data)
    at = data["n"].buffers()[1].address
    assert seen == [at]
    assert pa.table(output)["s"].chunk(0).buffers()[1].address == at


def test_names_and_types_are_looked_at(runtime, batch):
    register(runtime, "twice", lambda n: n, [pa.int64()], pa.int64())
    with pytest.raises(unlade.CompileError, match="a function `twice` already"):
        register(runtime, "TWICE", lambda n: n, [pa.int64()], pa.int64())
    with pytest.raises(unlade.CompileError, match="word of the language"):
        register(runtime, "abs", lambda n: n, [pa.int64()], pa.int64())
    with pytest.raises(TypeError, match="pyarrow.int64"):
        register(runtime, "typed", lambda n: n, ["int"], pa.int64())
    with pytest.raises(TypeError, match="a function of pyarrow arrays, not int"):
        register(runtime, "called", 7, [pa.int64()], pa.int64())
    with pytest.raises(unlade.CompileError, match="did you mean `twice`") as refused:
        runtime.compile(batch, filter="twicf(id) > 1")
    assert refused.value.kind == "unknown"
    with pytest.raises(unlade.CompileError, match="Float64, not Int64") as refused:
        runtime.compile(batch, filter="twice(price) > 1")
    assert refused.value.span == (6, 11)
    with pytest.raises(unlade.CompileError, match="no function `twice`"):
        unlade.compile(batch, filter="twice(id) > 1")


def test_sessions_streams_tickets_and_threads_call_it(runtime):
    calls = []
    lock = threading.Lock()

    def counted(numbers):
        with lock:
            calls.append(len(numbers))
        return pc.add(numbers, 1)

    register(runtime, "next", counted, [pa.int64()], pa.int64())
    data = pa.table({"n": pa.array(range(40_000), pa.int64())})
    kernel = runtime.session("one").compile(data, filter="next(n) % 2 = 0", select="n")
    assert sum(output.num_rows for output in kernel.stream(data, batch_rows=1000)) == 20_000
    assert calls == [1000] * 40
    assert kernel.submit(data.slice(0, 10)).wait(timeout=60).num_rows == 5
    threads = [threading.Thread(target=kernel.run, args=(data,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(calls) == 40_000 * 5 + 10


def test_pyarrows_functions_that_are_not_read_may_be_registered(runtime, batch):
    register(runtime, "is_nan", pc.is_nan, [pa.float64()], pa.bool_())
    data = pa.record_batch({"x": [1.0, float("nan"), None]})
    output = runtime.compile(data, filter=pc.is_nan(pc.field("x"))).run(data)
    assert output.num_rows == 1


def test_what_a_function_returns_is_looked_at(runtime, batch):
    def gives(name, result, of):
        register(runtime, name, lambda _: result, [pa.int32()], of)
        for options in ({}, {"filter": "id > 1"}):
            with pytest.raises(unlade.FunctionError) as raised:
                runtime.compile(batch, select=f"{name}(id) as x", **options).run(batch)
            yield str(raised.value)

    def strings(offsets, text, of=pa.string()):
        offsets = pa.py_buffer(np.array(offsets, np.int32).tobytes())
        return pa.Array.from_buffers(of, len(offsets) // 4 - 1, [None, offsets, pa.py_buffer(text)])

    for said in gives("back", strings([0, 5, 2, 9], b"abcdefghi"), pa.string()):
        assert "malformed" in said
    for said in gives("no_text", strings([0, 1, 2, 3], b"\xff\xfe\xfd"), pa.string()):
        assert "utf" in said.lower()
    keys = pa.DictionaryArray.from_arrays([0, 7, 1], ["one", "two"], safe=False)
    for said in gives("no_key", keys, keys.type):
        assert "7" in said
    lists = pa.ListArray.from_buffers(
        pa.list_(pa.int64()),
        3,
        [None, pa.py_buffer(np.array([0, 2, 1, 3], np.int32).tobytes())],
        children=[pa.array([1, 2, 3])],
    )
    for said in gives("list_back", lists, lists.type):
        assert "malformed" in said
    # Bytes are none of UTF-8.
    register(runtime, "bytes", lambda _: strings([0, 1, 2, 3], b"\xff\xfe\xfd", pa.binary()), [pa.int32()], pa.binary())
    output = pa.table(runtime.compile(batch, select="bytes(id) as x").run(batch))
    assert output["x"].to_pylist() == [b"\xff", b"\xfe", b"\xfd"]


def test_names_of_items_do_not_tell_types_apart(runtime):
    def list_of(name):
        return pa.list_(pa.field(name, pa.int64()))

    seen = []

    def lengths(lists):
        seen.append(lists.type)
        return pc.list_value_length(lists)

    register(runtime, "lengths", lengths, [list_of("item")], pa.int32())
    register(runtime, "same", lambda lists: lists.cast(list_of("other")), [list_of("item")], list_of("entry"))
    data = pa.record_batch({"l": pa.array([[1, 2], None, []], list_of("element"))})
    output = pa.table(runtime.compile(data, select="lengths(l) as n, same(l) as s").run(data))
    assert output.to_pydict() == {"n": [2, None, 0], "s": [[1, 2], None, []]}
    assert seen[0].equals(list_of("item"), check_metadata=True)
    assert output["s"].type.value_field.name == "entry"


def test_strings_of_another_layout_are_told_what_to_do(runtime):
    frame = pl.DataFrame({"name": ["ann", None, "cleo"]})
    register(runtime, "size", pc.binary_length, [pa.string()], pa.int32())
    with pytest.raises(unlade.CompileError, match="laid out differently") as refused:
        runtime.compile(frame, select="size(name) as s")
    assert "register the function for Utf8View" in refused.value.help
    by_view = lambda names: pc.binary_length(names.cast(pa.string()))  # noqa: E731
    register(runtime, "view_size", by_view, [pa.string_view()], pa.int32())
    kernel = runtime.compile(frame, select="view_size(name) as s")
    assert pa.table(kernel.run(frame))["s"].to_pylist() == [3, None, 4]
    register(runtime, "large_size", pc.binary_length, [pa.large_string()], pa.int64())
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    kernel = runtime.compile(table, select="large_size(name) as s")
    assert pa.table(kernel.run(table))["s"].to_pylist() == [3, None, 4]


def test_a_function_does_not_wait_for_its_own_runtime():
    batch = pa.record_batch({"a": [1, 2, 3]})
    with unlade.Runtime(devices=["cpu"], threads=1) as own, unlade.Runtime(devices=["cpu"]) as other:
        plain, elsewhere = (runtime.compile(batch, select="a + 1 as a") for runtime in (own, other))

        async def awaited(kernel, numbers):
            return await kernel.run_async(pa.record_batch({"a": numbers}))

        def waits(kernel, numbers):
            return kernel.submit(pa.record_batch({"a": numbers})).wait()

        def streams(kernel, numbers):
            return next(kernel.stream(pa.table({"a": numbers})))

        ways = {
            "waits": waits,
            "awaits": lambda kernel, numbers: asyncio.run(awaited(kernel, numbers)),
            "runs": lambda kernel, numbers: kernel.run(pa.record_batch({"a": numbers})),
            "runs_table": lambda kernel, numbers: kernel.run(pa.table({"a": numbers})),
            "streams": streams,
        }
        for name, way in ways.items():
            for of, kernel in (("own", plain), ("other", elsewhere)):
                function = lambda numbers, way=way, kernel=kernel: pa.table(way(kernel, numbers))["a"]  # noqa: E731
                register(own, f"{name}_{of}", function, [pa.int64()], pa.int64())
                calling = own.compile(batch, select=f"{name}_{of}(a) as r")
                if of == "own" and "waits" in name:
                    # By a ticket the function has the one thread.
                    with pytest.raises(unlade.FunctionError, match="inside of a user's function") as raised:
                        calling.submit(batch).wait(timeout=60)
                    assert isinstance(raised.value.__cause__, unlade.ConfigError)
                else:
                    output = calling.submit(batch).wait(timeout=60)
                    assert pa.table(output)["r"].to_pylist() == [2, 3, 4]


def test_extension_types_are_seen_by_functions_and_kept_by_columns(runtime):
    seen = []

    def first(ids):
        seen.append(ids.type)
        return pa.array([each.bytes[0] for each in ids.to_pylist()], pa.int64())

    register(runtime, "first", first, [pa.uuid()], pa.int64())
    register(runtime, "same", lambda ids: ids, [pa.uuid()], pa.uuid())
    storage = pa.array([bytes([row] * 16) for row in range(4)], pa.binary(16))
    data = pa.record_batch({"id": pa.ExtensionArray.from_storage(pa.uuid(), storage)})
    for options in ({"filter": "first(id) > 1"}, {"filter": "first(id) > 1", "select": "id as key, same(id) as s"}):
        output = pa.table(runtime.compile(data, **options).run(data))
        assert output.schema.field(0).type == pa.uuid()
        assert output.num_rows == 2
    assert seen == [pa.uuid()] * 2
    # What a call gives is of the type that it is registered with, and of the storage once it is computed with.
    assert output.schema.field("s").type == pa.uuid()
    assert output["s"].to_pylist() == output["key"].to_pylist()
    computed = pa.table(runtime.compile(data, select="same(id) as s, first(same(id)) as n").run(data))
    assert computed.schema.field("n").type == pa.int64()
    assert computed["n"].to_pylist() == [0, 1, 2, 3]


def test_arrays_without_rows_may_come_without_offsets(runtime):
    none = pa.Array.from_buffers(pa.string(), 0, [None, None, pa.py_buffer(b"")])
    data = pa.record_batch({"s": none})
    kernel = runtime.compile(data, select="s", check_values=True)
    assert pa.table(kernel.run(data)).to_pydict() == {"s": []}
    words = pa.ListArray.from_arrays(pa.array([0, 0, 0], pa.int32()), none)
    runtime.register_function("empty", [pa.int64()], words.type, lambda n: words)
    data = pa.record_batch({"n": pa.array([1, 2], pa.int64())})
    kernel = runtime.compile(data, select="empty(n) as w")
    assert pa.table(kernel.run(data)).to_pydict() == {"w": [[], []]}
