"""Unlade from Python beside Polars streaming, DuckDB and pyarrow, in one process, in interleaved rounds.

    python bench.py [--threads 1|all] [--rounds N]

Ratios are taken inside a round; printed are their median, least and greatest over the rounds. Every
engine gives its result as what its users take: a Polars frame, a pyarrow table. It ends with an error
where a target is missed.
"""

from __future__ import annotations

import argparse
import operator
import os
import statistics
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", choices=["1", "all"], default="1")
parser.add_argument("--rounds", type=int, default=7)
OPTIONS = parser.parse_args()
THREADS = 1 if OPTIONS.threads == "1" else len(os.sched_getaffinity(0))

# Polars reads it once, when it is imported.
os.environ["POLARS_MAX_THREADS"] = str(THREADS)
sys.path.insert(0, str(Path(__file__).parents[3] / "benches"))

import peers
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import acero

import unlade

# Most that a call from Python may take beyond the Rust call, in microseconds.
OVERHEAD = 10.0
# Runs of a job in a round: the fastest counts, the others are the machine's.
REPEATS = 3


def unlade_jobs(table):
    runtime = unlade.Runtime(devices=["cpu"], threads=THREADS)

    def job(predicate):
        kernel = runtime.compile(table, filter=predicate, select="a")
        return lambda: pa.table(kernel.run(table)).num_rows

    return {name: job(predicate) for name, predicate in peers.WORKLOADS.items()}


def predicates(a, b, c, both):
    """The workloads on columns or fields of pyarrow, `both` being its conjunction of them."""
    number = lambda value: pa.scalar(value, pa.int32())
    three = lambda least, below, most: both(
        both(pc.greater(a, number(least)), pc.less(b, number(below))),
        pc.less_equal(c, number(most)),
    )
    return {
        "cast-1": lambda: pc.greater(a.cast(pa.int64()), pa.scalar(989, pa.int64())),
        "cast-50": lambda: pc.greater(a.cast(pa.int64()), pa.scalar(499, pa.int64())),
        "equals-0.1": lambda: pc.equal(a, number(100)),
        "and3-1": lambda: three(784, 215, 214),
        "and3-50": lambda: three(205, 794, 793),
    }


def compute_jobs(table):
    """pyarrow's kernels, one after the other."""
    only = table.select(["a"])
    jobs = predicates(*(table[name] for name in "abc"), pc.and_)
    return {name: (lambda mask=mask: only.filter(mask()).num_rows) for name, mask in jobs.items()}


def acero_jobs(table):
    """pyarrow's engine."""

    def job(predicate):
        plan = acero.Declaration.from_sequence(
            [
                acero.Declaration("table_source", acero.TableSourceNodeOptions(table)),
                acero.Declaration("filter", acero.FilterNodeOptions(predicate)),
                acero.Declaration("project", acero.ProjectNodeOptions([pc.field("a")], ["a"])),
            ]
        )
        return lambda: plan.to_table(use_threads=THREADS > 1).num_rows

    fields = predicates(*(pc.field(name) for name in "abc"), operator.and_)
    return {name: job(predicate()) for name, predicate in fields.items()}


def seconds(job):
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        job()
        times.append(time.perf_counter() - begun)
    return min(times)


def overheads():
    """Microseconds of calls on a small batch: in all, in the runtime, and with the way to pyarrow."""
    batch = pa.record_batch({name: pa.array(range(1000), pa.int32()) for name in "abc"})
    runtime = unlade.Runtime(devices=["cpu"], threads=1)
    kernel = runtime.compile(batch, filter="a > 500", select="a, b")
    calls, taken, whole = [], [], []
    for _ in range(3000):
        begun = time.perf_counter_ns()
        output = kernel.run(batch)
        ended = time.perf_counter_ns()
        pa.record_batch(output.batch)
        back = time.perf_counter_ns()
        calls.append(ended - begun)
        whole.append(back - begun)
        taken.append(output.receipt.taken_ns)
    return [statistics.median(each) / 1000 for each in (calls, taken, whole)]


def spread(values):
    return f"{statistics.median(values):8.2f} {min(values):8.2f} to {max(values):6.2f}"


def main() -> bool:
    pa.set_cpu_count(THREADS)
    columns = peers.table_columns()
    table = pa.table(columns)
    engines = {
        "unlade": unlade_jobs(table),
        "polars": peers.polars_jobs(columns)[1],
        "duckdb": peers.duckdb_jobs(columns, THREADS)[1],
        "pyarrow": compute_jobs(table),
        "acero": acero_jobs(table),
    }
    for name in peers.WORKLOADS:
        rows = {engine: jobs[name]() for engine, jobs in engines.items()}
        assert len(set(rows.values())) == 1, f"{name}: engines disagree: {rows}"
    times = {name: {engine: [] for engine in engines} for name in peers.WORKLOADS}
    beyond, to_pyarrow = [], []
    for _ in range(OPTIONS.rounds):
        for name, by_engine in times.items():
            for engine, jobs in engines.items():
                by_engine[engine].append(seconds(jobs[name]) * 1e3)
        call, taken, whole = overheads()
        beyond.append(call - taken)
        to_pyarrow.append(whole - call)
    met = True
    print(f"\n{THREADS} thread(s), {OPTIONS.rounds} rounds, {peers.ROWS} rows of int32; ms, and ratios to unlade")
    for name, by_engine in times.items():
        ours = by_engine["unlade"]
        print(f"{name:>12} {'unlade':>8} {spread(ours)} ms")
        for engine, theirs in by_engine.items():
            if engine == "unlade":
                continue
            ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
            ahead = statistics.median(ratios) >= 1
            met &= ahead
            verdict = "PASS" if ahead else "FAIL"
            print(f"{'':>12} {engine:>8} {spread(theirs)} ms  x{spread(ratios)}  {verdict} >= 1")
    within = statistics.median(beyond) <= OVERHEAD
    met &= within
    verdict = "PASS" if within else "FAIL"
    print(f"{'a call':>12} {'beyond':>8} {spread(beyond)} us  {verdict} <= {OVERHEAD}")
    print(f"{'':>12} {'to arrow':>8} {spread(to_pyarrow)} us  a result as a pyarrow batch, on top")
    return met


sys.exit(0 if main() else 1)
