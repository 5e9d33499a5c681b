"""Memory of `unlade run` while a long Arrow stream goes through it.

    python benches/stream.py path/to/unlade [gigabytes] [memory]

Feeds batches of 64 MiB through standard input and prints one JSON object: the bytes fed, seconds,
the budget given with --memory, and the greatest RssAnon + RssShmem seen, polled every 20 ms.
`cargo xtask bench` runs it.
"""

import json
import subprocess
import sys
import threading
import time

import numpy
import pyarrow

ROWS = 1_000_000


def batch():
    random = numpy.random.default_rng(42)
    columns = {name: random.integers(0, 1000, ROWS, dtype=numpy.int64) for name in "abcdef"}
    words = pyarrow.array([f"row {number % 97}" for number in range(ROWS)])
    return pyarrow.RecordBatch.from_pydict({**columns, "words": words})


def resident(process):
    """RssAnon + RssShmem in bytes; 0 once the process is gone."""
    try:
        with open(f"/proc/{process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
    except OSError:
        return 0
    kib = lambda name: int(fields[name].split()[0]) if name in fields else 0
    return 1024 * (kib("RssAnon") + kib("RssShmem"))


def main():
    unlade = sys.argv[1]
    wanted = int(float(sys.argv[2]) * 1e9) if len(sys.argv) > 2 else 10_000_000_000
    memory = sys.argv[3] if len(sys.argv) > 3 else "512MB"
    command = [unlade, "run", "-", "--where", "cast(a as bigint) > 499", "--quiet"]
    command += ["--memory", memory, "-o", "/dev/null", "--format", "arrows"]
    data = batch()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    peak = 0
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    fed = 0
    with pyarrow.ipc.new_stream(process.stdin, data.schema) as writer:
        while fed < wanted:
            writer.write_batch(data)
            fed += data.nbytes
    process.stdin.close()
    code = process.wait()
    done.set()
    watcher.join()
    seconds = time.perf_counter() - start
    if code != 0:
        sys.exit(f"{command} ended with {code}")
    json.dump({"bytes": fed, "seconds": seconds, "memory": memory, "peak": peak}, sys.stdout)


main()
