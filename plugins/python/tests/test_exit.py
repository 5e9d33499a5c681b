"""Scripts that end while a runtime's threads are still at work, some of it in Python."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

# How each begins.
BEGIN = """
import asyncio, threading, time
import numpy as np
import pyarrow as pa
import unlade

batch = pa.record_batch({"a": np.arange(100_000)})
int64 = pa.int64()

def slow(seconds):
    def function(numbers):
        time.sleep(seconds)
        return pa.array(numbers.to_pylist())
    return function

runtime = unlade.runtime()
"""

SCRIPTS = {
    "tickets": """
runtime.register_function("slow", [int64], int64, slow(0.05))
kernel = runtime.compile(batch, select="slow(a) as r")
tickets = [kernel.submit(batch) for _ in range(10)]
""",
    "tickets of a runtime that is gone": """
def submit():
    own = unlade.Runtime(devices=["cpu"])
    own.register_function("slow", [int64], int64, slow(0.05))
    return [own.compile(batch, select="slow(a) as r").submit(batch) for _ in range(10)]
tickets = submit()
""",
    "quick functions": """
runtime.register_function("quick", [int64], int64, lambda numbers: pa.array(numbers.to_pylist()))
kernel = runtime.compile(batch, select="quick(a) as r")
tickets = [kernel.submit(batch) for _ in range(10)]
""",
    "a reader in Python": """
def batches():
    while True:
        time.sleep(0.01)
        yield batch
kernel = runtime.compile(batch, filter="a >= 0")
stream = kernel.stream(pa.RecordBatchReader.from_batches(batch.schema, batches()))
next(stream)
""",
    "a stream with a function": """
runtime.register_function("slow", [int64], int64, slow(0.02))
kernel = runtime.compile(batch, select="slow(a) as r")
stream = kernel.stream(pa.table({"a": np.arange(1_000_000)}), batch_rows=10_000)
next(stream)
""",
    "an awaited batch that took too long": """
runtime.register_function("slow", [int64], int64, slow(0.1))
kernel = runtime.compile(batch, select="slow(a) as r")
async def main():
    try:
        await asyncio.wait_for(kernel.run_async(batch), 0.01)
    except (TimeoutError, asyncio.TimeoutError):
        pass
asyncio.run(main())
""",
    "a daemon's table": """
runtime.register_function("slow", [int64], int64, slow(0.01))
kernel = runtime.compile(batch, select="slow(a) as r")
table = pa.table({"a": np.arange(3_000_000)})
def work():
    while True:
        kernel.run(table)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
""",
    "a daemon that waits": """
runtime.register_function("slow", [int64], int64, slow(0.3))
ticket = runtime.compile(batch, select="slow(a) as r").submit(batch)
threading.Thread(target=ticket.wait, daemon=True).start()
time.sleep(0.02)
""",
    "memory of NumPy's": """
kernel = runtime.compile(batch, filter="a % 3 = 0")
tickets = [kernel.submit(pa.record_batch({"a": np.arange(100_000) + i})) for i in range(200)]
""",
    "messages": """
import logging
logging.basicConfig(level=1, filename="/dev/null")
own = unlade.Runtime(devices=["cpu", "sim"], device="sim")
kernel = own.compile(batch, filter="a % 3 = 0")
tickets = [kernel.submit(batch) for _ in range(100)]
""",
}

# Each ends at another moment; without the gate hardly one of a script's runs ends well.
TIMES = int(os.environ.get("UNLADE_EXITS", "4"))


def ends(script: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_well_with_work_under_way(name):
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: ends(SCRIPTS[name]), range(TIMES)))
    # A daemon whose work is refused may say so.
    wrong = [each for each in ended if each[0] != 0 or "atal" in each[1]]
    assert not wrong, wrong[0]


def test_the_end_waits_for_a_function_and_refuses_the_next():
    code, said = ends(
        """
def function(numbers):
    print("begun", flush=True)
    time.sleep(0.3)
    print("done", flush=True)
    return numbers
own = unlade.Runtime(devices=["cpu"], threads=1)
own.register_function("f", [int64], int64, function)
kernel = own.compile(batch, select="f(a) as r")
tickets = [kernel.submit(batch) for _ in range(3)]
time.sleep(0.1)
"""
    )
    assert (code, said.split()) == (0, ["begun", "done"])


def test_what_is_refused_is_told():
    # Handlers run last in, first out: this one comes after the package's.
    script = """
import atexit
def last():
    import unlade, pyarrow as pa
    try:
        ticket.wait()
    except unlade.FunctionError as error:
        print("told:", error)
atexit.register(last)
import unlade, pyarrow as pa, time, threading
begun = threading.Event()
def function(numbers):
    begun.set()
    time.sleep(0.2)
    return numbers
own = unlade.Runtime(devices=["cpu"], threads=1)
own.register_function("f", [pa.int64()], pa.int64(), function)
batch = pa.record_batch({"a": [1]})
kernel = own.compile(batch, select="f(a) as r")
first, ticket = kernel.submit(batch), kernel.submit(batch)
begun.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "told: function `f` failed: Python is ending" in done.stdout


@pytest.mark.parametrize("first", ["import unlade", "pass"])
def test_another_interpreter_is_refused(first):
    """It would be ended after the gate was shut, and the process would never end."""
    script = f"""
{first}
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
interpreters.run_string(other, '''
try:
    import unlade
except ImportError as error:
    print(error)
''')
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "main interpreter alone" in done.stdout
