"""Writes TPC-DS: its tables as Parquet files, and its 99 queries.

Both are DuckDB's: its extension generates the tables as the specification has them, and knows the
queries with the parameters that the specification's own answers have.

    python make.py FOLDER SCALE
"""

import sys
from pathlib import Path

import duckdb
import duckdb_ext


def main(folder: Path, scale: float) -> None:
    queries = folder / "queries"
    queries.mkdir(parents=True, exist_ok=True)
    connection = duckdb_ext.init(duckdb.connect())
    connection.execute("LOAD tpcds")
    connection.execute("CALL dsdgen(sf = ?)", [scale])
    for (table,) in connection.sql("FROM duckdb_tables() SELECT table_name").fetchall():
        connection.table(table).write_parquet(str(folder / f"{table}.parquet"))
    for number, text in connection.sql("FROM tpcds_queries()").fetchall():
        (queries / f"q{number:02}.sql").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), float(sys.argv[2]))
