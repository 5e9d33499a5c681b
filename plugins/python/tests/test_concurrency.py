"""Threads, event loops, streams, signals, forks, and what is left behind."""

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import unlade


def endless(schema=None, seconds=0.0):
    """A reader without an end, that is written in Python."""
    batch = pa.record_batch({"a": np.arange(1000)})

    def batches():
        while True:
            time.sleep(seconds)
            yield batch

    return pa.RecordBatchReader.from_batches(batch.schema, batches())


class TestThreads:
    def test_several_call_one_kernel_at_once(self, runtime):
        batches = [pa.record_batch({"a": np.arange(i, i + 20_000)}) for i in range(16)]
        kernel = runtime.compile(batches[0], filter="a % 7 = 0", select="a + 1 as b")
        wanted = [[a + 1 for a in range(i, i + 20_000) if a % 7 == 0] for i in range(16)]

        def work(i):
            return pa.table(kernel.run(batches[i]))["b"].to_pylist()

        with ThreadPoolExecutor(8) as threads:
            for _ in range(4):
                assert list(threads.map(work, range(16))) == wanted

    def test_the_interpreter_is_free_while_one_computes(self):
        batch = pa.record_batch({"a": np.arange(20_000_000, dtype=np.int32)})
        kernel = unlade.compile(batch, filter="a % 3 = 0 and a % 5 = 0", select="a * 3 + 1 as b")
        counted, over = 0, threading.Event()

        def work():
            kernel.run(batch)
            over.set()

        thread = threading.Thread(target=work)
        # A thread that held the interpreter would let this one run once, when it is done.
        thread.start()
        while not over.is_set():
            counted += 1
        thread.join()
        assert counted > 1000

    def test_two_engines_share_one_runtime_and_one_pool(self):
        runtime = unlade.runtime()
        assert repr(runtime) == repr(unlade.runtime())
        gc.collect()
        before = runtime.memory()["exported"]
        frame = pl.DataFrame({"a": np.arange(100_000)})
        relation = duckdb.connect().sql("SELECT range AS a FROM range(100000)")
        of_polars = unlade.run(frame, filter="a % 2 = 0")
        after_one = runtime.memory()["exported"]
        of_duckdb = unlade.run(relation, filter="a % 2 = 1")
        after_both = unlade.runtime().memory()["exported"]
        assert before < after_one < after_both
        assert len(runtime.sessions()) == 1
        assert of_polars.num_rows == of_duckdb.num_rows == 50_000
        del of_polars, of_duckdb
        gc.collect()
        assert runtime.memory()["exported"] == before


def test_a_source_may_need_the_interpreter_on_its_own_threads():
    def batches():
        for i in range(3):
            yield pa.record_batch({"a": np.arange(i, i + 10)})

    schema = pa.schema([("a", pa.int64())])
    connection = duckdb.connect()
    for take in (unlade.Batch, lambda data: unlade.run(data, select="a")):
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        connection.register("reader", reader)
        assert take(connection.sql("SELECT max(a) AS a FROM reader")).num_rows == 1


class TestTickets:
    def test_a_result_comes_with_its_ticket(self, runtime, batch):
        kernel = runtime.compile(batch, filter="id > 3")
        tickets = [kernel.submit(batch) for _ in range(20)]
        assert [ticket.wait().num_rows for ticket in tickets] == [2] * 20
        assert tickets[0].done()
        with pytest.raises(unlade.ConfigError, match="given its result"):
            tickets[0].wait()

    def test_an_error_comes_with_its_ticket(self, runtime, batch):
        ticket = runtime.compile(batch, select="1 / (id - 5) as x").submit(batch)
        with pytest.raises(unlade.TrapError) as caught:
            ticket.wait()
        assert caught.value.row == 1

    def test_waiting_has_an_end(self):
        runtime = unlade.Runtime(devices=["cpu"], threads=1)
        large = pa.record_batch({"a": np.arange(10_000_000)})
        kernel = runtime.compile(large, select="a * 3 % 7 as b")
        tickets = [kernel.submit(large) for _ in range(2)]
        with pytest.raises(TimeoutError):
            tickets[1].wait(timeout=0)
        assert tickets[1].wait().num_rows == len(large)
        tickets[0].cancel()
        assert tickets[0].done()
        with pytest.raises(unlade.Cancelled):
            tickets[0].wait()

    def test_a_ticket_is_cancelled_while_another_thread_waits_for_it(self, batch):
        go_on = threading.Event()

        def slow(column):
            assert go_on.wait(60)
            return column

        with unlade.Runtime(devices=["cpu"], threads=1) as runtime:
            runtime.register_function("slow", [pa.int32()], pa.int32(), slow)
            ticket = runtime.compile(batch, select="slow(id) as x").submit(batch)
            with ThreadPoolExecutor(1) as pool:
                waits = pool.submit(ticket.wait)
                while "another thread" not in waited_for_twice(ticket):
                    time.sleep(0.01)
                assert (ticket.done(), repr(ticket)) == (False, "Ticket(pending)")
                ticket.cancel()
                assert isinstance(waits.exception(timeout=60), unlade.Cancelled)
            assert ticket.done()
            go_on.set()


def waited_for_twice(ticket) -> str:
    """What a second wait says of a ticket that is not done."""
    try:
        ticket.wait(timeout=0)
    except (unlade.ConfigError, TimeoutError) as error:
        return str(error)
    raise AssertionError("it cannot be done yet")


class TestAsyncio:
    def test_batches_are_awaited_together(self, runtime, batch):
        kernel = runtime.compile(batch, filter="id > 3")

        async def main():
            outputs = await asyncio.gather(*(kernel.run_async(batch) for _ in range(50)))
            return [output.num_rows for output in outputs]

        assert asyncio.run(main()) == [2] * 50

    def test_the_loop_goes_on_meanwhile(self, runtime):
        large = pa.record_batch({"a": np.arange(5_000_000)})
        kernel = runtime.compile(large, select="a * 3 % 7 as b")

        async def main():
            ticks = 0
            task = asyncio.ensure_future(kernel.run_async(large))
            while not task.done():
                await asyncio.sleep(0)
                ticks += 1
            return ticks, (await task).num_rows

        ticks, rows = asyncio.run(main())
        assert ticks > 10
        assert rows == len(large)

    def test_errors_are_raised_where_it_is_awaited(self, runtime, batch):
        kernel = runtime.compile(batch, select="1 / (id - 5) as x")
        with pytest.raises(unlade.TrapError):
            asyncio.run(kernel.run_async(batch))

    def test_a_cancelled_task_leaves_nothing(self, runtime):
        large = pa.record_batch({"a": np.arange(2_000_000)})
        kernel = runtime.compile(large, select="a * 3 % 7 as b")

        async def main():
            tasks = [asyncio.ensure_future(kernel.run_async(large)) for _ in range(4)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            return {type(each) for each in ended}

        assert asyncio.run(main()) == {asyncio.CancelledError}
        runtime.shutdown()

    def test_a_stream_is_iterated(self, runtime, numbers):
        kernel = runtime.compile(numbers, filter="a % 2 = 0")

        async def main():
            rows = 0
            async for output in kernel.stream(numbers, batch_rows=50_000):
                rows += output.num_rows
            return rows

        assert asyncio.run(main()) == 150_000

    def test_a_stream_that_is_given_up(self, runtime):
        kernel = runtime.compile(endless().schema, filter="a > 1")

        async def main():
            stream = kernel.stream(endless(seconds=0.01))

            async def read():
                async for _output in stream:
                    pass

            task = asyncio.ensure_future(read())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())


class TestStreams:
    def test_one_result_for_each_batch(self, runtime, numbers):
        stream = runtime.compile(numbers, filter="a % 2 = 0").stream(numbers, batch_rows=100_000)
        assert [output.num_rows for output in stream] == [50_000] * 3
        assert next(stream, None) is None

    def test_it_is_a_reader_for_others(self, runtime, numbers):
        stream = runtime.compile(numbers, filter="a < 5").stream(numbers)
        reader = pa.RecordBatchReader.from_stream(stream)
        assert reader.read_all()["a"].to_pylist() == [0, 1, 2, 3, 4]
        with pytest.raises(unlade.ConfigError, match="handed on"):
            pa.RecordBatchReader.from_stream(stream)

    def test_it_ends_with_its_block(self, runtime):
        kernel = runtime.compile(endless().schema, filter="a > 990")
        with kernel.stream(endless()) as stream:
            assert next(stream).num_rows == 9
        assert next(stream, None) is None

    def test_it_is_cancelled_from_another_thread(self, runtime):
        kernel = runtime.compile(endless().schema, filter="a > 1")
        stream = kernel.stream(endless(seconds=0.001))
        timer = threading.Timer(0.1, stream.cancel)
        timer.start()
        with pytest.raises(unlade.Cancelled):
            for _output in stream:
                pass
        timer.join()

    def test_a_reader_that_fails(self, runtime):
        def batches():
            yield pa.record_batch({"a": [1]})
            raise RuntimeError("the disk is gone")

        schema = pa.schema([("a", pa.int64())])
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        with pytest.raises(unlade.InputError, match="the disk is gone"):
            runtime.compile(schema, filter="a > 0").run(reader)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["stream", "run"])
@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_ctrl_c_ends_what_is_long(threads, how, seconds):
    # A process that was started in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    kernel = unlade.Runtime(devices=["cpu"], threads=threads).compile(endless().schema, filter="a < 0")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        if how == "stream":
            for _output in kernel.stream(endless(seconds=seconds)):
                pass
        else:
            kernel.run(endless(seconds=seconds))
    timer.join()
    signal.signal(signal.SIGINT, before)


class TestForks:
    """A child of fork has no devices; one of spawn has its own."""

    def test_a_forked_child_is_told(self, batch):
        kernel = unlade.compile(batch, filter="id > 3")
        assert kernel.run(batch).num_rows == 2
        for what in ("run", "compile", "make"):
            said, code = in_child("fork", what, kernel, batch)
            assert said.startswith("Forked: ")
            assert "spawn" in said
            assert code == 0
        said, code = in_child("fork", "wait", kernel.submit(batch), batch)
        assert said.startswith("Forked: ") and code == 0

    def test_whatever_is_called_there_says_so(self):
        ended = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS], capture_output=True, text=True, timeout=120
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.split() == ["child", "parent"]

    def test_a_spawned_child_has_its_own(self, batch):
        unlade.run(batch, filter="id > 3")
        said, code = in_child("spawn", "compile", None, batch)
        assert (said, code) == ("2 rows", 0)


# Forks with all kinds of things of a runtime at hand, tries them, and ends both as any process does.
FORKS = """
import asyncio, os
import numpy as np
import pyarrow as pa
import unlade

table = pa.table({"a": np.arange(300_000)})
batch = table.to_batches()[0]
runtime = unlade.Runtime(devices=["cpu", "sim"], threads=2)
session = runtime.session("one")
kernel = runtime.compile(batch, filter="a % 2 = 0", mask=True)
output = kernel.run(batch)
column = output.batch["a"]
resident = runtime.pin(batch, device="sim")
pinned = resident.column("a")
ticket, done, stream = kernel.submit(batch), kernel.submit(batch), kernel.stream(table, batch_rows=1000)
source, own = unlade.Source(output.batch), output.batch
done.wait()
next(stream)
shared = unlade.runtime()

async def awaited():
    await kernel.run_async(batch)

async def iterated():
    async for _ in stream:
        pass

TRIED = {
    "runtime": unlade.runtime,
    "devices of the shared one": unlade.devices,
    "run": lambda: unlade.run(batch, filter="a > 1"),
    "Runtime": lambda: unlade.Runtime(devices=["cpu"]),
    "Batch": lambda: unlade.Batch(batch),
    "Source": lambda: unlade.Source(table),
    **{
        f"{name} of {type(of).__name__}": (lambda of=of, name=name, args=args: getattr(of, name)(*args))
        for of, calls in [
            (runtime, [
                "devices", "memory", "sessions", "fallbacks", "cache", "shutdown",
                ("session", "two"), ("pin", batch), ("compile", batch), ("__exit__", None, None, None),
                ("register_function", "f", [pa.int64()], pa.int64(), len),
            ]),
            (session, ["cancel", "status", ("compile", batch), ("__exit__", None, None, None)]),
            (kernel, [
                "explain", ("run", batch), ("run", table), ("run", own), ("run", source), ("submit", batch),
                ("stream", table), ("stream", own), ("run_resident", resident),
            ]),
            (ticket, ["wait", "done", "cancel"]),
            (done, ["wait", "done", "cancel"]),
            (stream, ["__next__", "cancel", "__anext__", "__arrow_c_stream__", ("__exit__", None, None, None)]),
            (resident, [("column", "a")]),
            (own, ["__arrow_c_array__", "__arrow_c_stream__", "__len__", ("column", "a")]),
            (output, ["__arrow_c_stream__"]),
            (column, ["__arrow_c_array__", "to_numpy", "__len__"]),
            (pinned, ["__arrow_c_device_array__", "__len__"]),
        ]
        for name, *args in [(call,) if isinstance(call, str) else call for call in calls]
    },
    "pyarrow": lambda: pa.table(output),
    "masks": lambda: output.masks,
    "tensor": lambda: column.__dlpack__(max_version=(1, 0)),
    "tensor on a device": lambda: pinned.__dlpack__(max_version=(1, 0)),
    "cancelled": lambda: session.cancelled,
    "residence": lambda: (resident.device, resident.batches, resident.batches_on_device),
    "awaited": lambda: asyncio.run(awaited()),
    "iterated": lambda: asyncio.run(iterated()),
}

def tried(call):
    try:
        return f"gave {call()!r}"
    except unlade.Forked:
        return None
    except BaseException as error:
        return f"raised {error!r}"

child = os.fork()
if child == 0:
    wrong = {name: said for name, said in ((name, tried(call)) for name, call in TRIED.items()) if said}
    # What is no part of the runtime is there.
    assert (output.num_rows, output.receipt.rows_in, output.schema.names) == (150_000, 300_000, ["a"])
    assert column.name == "a" and runtime.threads == 2 and len(unlade.functions()) > 0
    assert not wrong, wrong
    shown = [repr(it) for it in (runtime, session, kernel, ticket, own, column, pinned)]
    assert all(text.endswith("(of the process that was forked)") for text in shown), shown
    del TRIED, output, own, column, resident, pinned, ticket, done, stream, source, kernel, session, runtime
    print("child", flush=True)
else:
    assert os.waitpid(child, 0)[1] == 0
    assert ticket.wait().num_rows == output.num_rows == 150_000
    assert sum(output.num_rows for output in stream) == 149_500
    print("parent", flush=True)
"""


def in_child(method, what, kernel, batch):
    """What comes of work in a child, in words, and how the child ended."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=child_work, args=(sender, what, kernel, batch))
    with warnings.catch_warnings():
        # That of Python against forks with threads: what is tested here is what comes then.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    assert receiver.poll(60), "the child says nothing"
    said = receiver.recv()
    child.join(60)
    return said, child.exitcode


def child_work(sender, what, kernel, batch):
    try:
        if what == "make":
            unlade.Runtime(devices=["cpu"])
        elif what == "wait":
            # Of the parent's.
            kernel.wait()
        elif what == "compile":
            kernel = unlade.compile(batch, filter="id > 3")
        sender.send(f"{kernel.run(batch).num_rows} rows")
    except unlade.Error as error:
        sender.send(f"{type(error).__name__}: {error}")


class TestLeaks:
    """What is used again and again does not grow."""

    def test_memory_of_many_runs(self):
        runtime = unlade.Runtime(devices=["cpu"], threads=2)
        batch = pa.record_batch({"a": np.arange(1000), "s": ["text"] * 1000})
        table = pa.Table.from_batches([batch] * 3)
        kernel = runtime.compile(batch, filter="a % 2 = 0", select="a, s")
        failing = runtime.compile(batch, select="1 / (a - 500) as x")

        def work(times):
            for _ in range(times):
                pa.record_batch(kernel.run(batch).batch)
                pa.table(kernel.run(table))
                np.from_dlpack(kernel.run(batch).batch["a"])
                kernel.submit(batch).wait()
                with pytest.raises(unlade.TrapError):
                    failing.run(batch)

        work(300)
        gc.collect()
        references = sys.getrefcount(batch), sys.getrefcount(kernel)
        before = resident_bytes()
        arrow = pa.total_allocated_bytes()
        work(3000)
        gc.collect()
        assert runtime.memory()["leased"] == 0
        assert (sys.getrefcount(batch), sys.getrefcount(kernel)) == references
        assert pa.total_allocated_bytes() == arrow
        assert resident_bytes() - before < 4 << 20

    def test_memory_of_many_runtimes_and_kernels(self):
        batch = pa.record_batch({"a": np.arange(1000)})

        def work(times):
            for _ in range(times):
                with unlade.Runtime(devices=["cpu"], threads=2, pool_reserve=1 << 20) as runtime:
                    with runtime.session("one of many") as session:
                        session.compile(batch, filter="a > 5").run(pa.Table.from_batches([batch] * 4))

        work(30)
        gc.collect()
        before, threads = resident_bytes(), threading.active_count()
        work(200)
        gc.collect()
        assert resident_bytes() - before < 8 << 20
        assert threading.active_count() == threads

    def test_an_imported_batch_is_let_go(self):
        batch = pa.record_batch({"a": np.arange(100_000)})
        references = sys.getrefcount(batch)
        before = pa.total_allocated_bytes()
        output = unlade.run(pa.record_batch({"a": pa.array(range(100_000))}), select="a")
        assert pa.total_allocated_bytes() > before
        del output
        gc.collect()
        assert pa.total_allocated_bytes() == before
        assert sys.getrefcount(batch) == references


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
