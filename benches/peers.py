"""Polars and DuckDB on the workloads that targets are set for, one thread each; as a module, on as many
as `POLARS_MAX_THREADS` says and `threads` asks for.

Prints one JSON object: workload -> engine -> list of seconds per run. `cargo xtask bench` runs it
between rounds of its own, so that the machine's mood hits all alike. An engine that is not
installed is printed as absent.
"""

import json
import os
import sys
import time

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy

ROWS = 10_000_000

WORKLOADS = {
    "cast-1": "CAST(a AS BIGINT) > 989",
    "cast-50": "CAST(a AS BIGINT) > 499",
    "equals-0.1": "a = 100",
    "and3-1": "a > 784 AND b < 215 AND c <= 214",
    "and3-50": "a > 205 AND b < 794 AND c <= 793",
}


def polars_jobs(columns):
    import polars

    a, b, c = (polars.col(name) for name in "abc")
    predicates = {
        "cast-1": a.cast(polars.Int64) > 989,
        "cast-50": a.cast(polars.Int64) > 499,
        "equals-0.1": a == 100,
        "and3-1": (a > 784) & (b < 215) & (c <= 214),
        "and3-50": (a > 205) & (b < 794) & (c <= 793),
    }
    frame = polars.DataFrame(columns).lazy()

    def job(predicate):
        plan = frame.filter(predicate).select("a")
        return lambda: plan.collect(engine="streaming").height

    jobs = {name: job(predicate) for name, predicate in predicates.items()}
    return f"polars-{polars.__version__}", jobs


def duckdb_jobs(columns, threads=1):
    import duckdb
    import pyarrow

    connection = duckdb.connect()
    connection.sql(f"SET threads = {threads}")
    connection.register("incoming", pyarrow.table(columns))
    connection.sql("CREATE TABLE numbers AS SELECT * FROM incoming")

    def job(predicate):
        text = f"SELECT a FROM numbers WHERE {predicate}"
        return lambda: connection.sql(text).to_arrow_table().num_rows

    jobs = {name: job(predicate) for name, predicate in WORKLOADS.items()}
    return f"duckdb-{duckdb.__version__}", jobs


def table_columns():
    random = numpy.random.default_rng(42)
    return {name: random.integers(0, 1000, ROWS, dtype=numpy.int32) for name in "abc"}


def main(repeats):
    columns = table_columns()
    results = {name: {} for name in WORKLOADS}
    absent = []
    engines = []
    for make in (polars_jobs, duckdb_jobs):
        try:
            engines.append(make(columns))
        except ImportError as error:
            absent.append(str(error))
    for engine, jobs in engines:
        for name, job in jobs.items():
            job()
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                job()
                seconds.append(time.perf_counter() - start)
            results[name][engine] = seconds
    json.dump({"results": results, "absent": absent}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
