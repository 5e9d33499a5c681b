"""Writes the files that tests/foreign.rs reads, and what is in them.

    python -m venv venv && venv/bin/pip install pyarrow==26.0.1 duckdb==2.0.0 polars==2.1.0
    venv/bin/python ingest/tests/data/make.py

Every file holds one of the tables below. `contents.json` tells, for each table, its values as they
stand in this script, never as some reader saw them, and for each file, which table it holds.
Values are written as JSON by the rules of `plain`.
"""

import datetime
import decimal
import json
import math
import pathlib
import struct
import uuid

import duckdb
import polars
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
CODECS = ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]
EPOCH = datetime.date(1970, 1, 1)
D = decimal.Decimal
DAY = 86_400

contents = {}  # table name -> {column name -> plain values}
files = {}  # file name -> {"table", "rows"}


class Table:
    """Columns of Python values, each with its Arrow type."""

    def __init__(self, name, **columns):
        self.name, self.columns = name, columns
        contents[name] = {
            column: [plain(value, data_type) for value in values]
            for column, (data_type, values) in columns.items()
        }
        self.rows = len(next(iter(columns.values()))[1]) if columns else 0

    def arrow(self):
        return pa.table(
            {
                name: pa.array(values, data_type)
                for name, (data_type, values) in self.columns.items()
            }
        )


def plain(value, data_type):
    """A value as JSON. Floats are the bits of their 64-bit form, since JSON has no NaN and
    readers round; times are nanoseconds, dates days since 1970, decimals and all wide integers
    text, bytes hexadecimal, structs objects, maps lists of pairs."""
    if value is None:
        return None
    t = pa.types
    if t.is_dictionary(data_type) or t.is_run_end_encoded(data_type):
        return plain(value, data_type.value_type)
    if t.is_floating(data_type):
        if math.isnan(value):
            return "NaN"
        single = struct.unpack("<f", struct.pack("<f", value))[0] if data_type == pa.float32() else value
        return "%016x" % struct.unpack("<Q", struct.pack("<d", single))[0]
    if t.is_integer(data_type):
        return str(value)
    if t.is_decimal(data_type):
        return format(value.quantize(D(1).scaleb(-data_type.scale), context=decimal.Context(prec=80)), "f")
    if t.is_timestamp(data_type) or t.is_time(data_type) or t.is_duration(data_type):
        return str(value * UNITS[data_type.unit])
    if t.is_date(data_type):
        return str((value - EPOCH).days)
    if t.is_binary(data_type) or t.is_large_binary(data_type) or t.is_binary_view(data_type):
        return value.hex()
    if t.is_fixed_size_binary(data_type):
        return value.hex()
    if t.is_struct(data_type):
        return {field.name: plain(value[field.name], field.type) for field in data_type}
    if t.is_map(data_type):
        return [[plain(k, data_type.key_type), plain(v, data_type.item_type)] for k, v in value]
    if t.is_nested(data_type):
        return [plain(item, data_type.value_type) for item in value]
    return value


def every(n, value, rows):
    """`value(i)` of each row, null in every n-th."""
    return [None if i % n == n - 1 else value(i) for i in range(rows)]


# ---- the tables -------------------------------------------------------------------------------

ROWS = 60
MIXED = Table(
    "mixed",
    id=(pa.int32(), list(range(ROWS))),
    number=(pa.int64(), every(7, lambda i: (i * i * 7919) % 1000 - 500, ROWS)),
    real=(pa.float64(), every(11, lambda i: i / 7 - 3, ROWS)),
    text=(pa.string(), every(5, lambda i: "item %d" % (i % 17) if i % 3 else "ü" * (i % 4), ROWS)),
    flag=(pa.bool_(), every(3, lambda i: i % 2 == 0, ROWS)),
    list=(pa.list_(pa.int32()), every(6, lambda i: [None if j == 2 else i + j for j in range(i % 4)], ROWS)),
)

FEW = 30
INTEGERS = Table(
    "integers",
    i8=(pa.int8(), every(5, lambda i: i * 6 - 128, FEW)),
    i16=(pa.int16(), every(6, lambda i: i * 1600 - 32768, FEW)),
    i32=(pa.int32(), every(7, lambda i: i * 10**8 - 2**31, FEW)),
    i64=(pa.int64(), every(8, lambda i: i * 10**17 - 2**63, FEW)),
    u8=(pa.uint8(), every(5, lambda i: 255 - i, FEW)),
    u16=(pa.uint16(), every(6, lambda i: 65535 - i, FEW)),
    u32=(pa.uint32(), every(7, lambda i: 2**32 - 1 - i, FEW)),
    u64=(pa.uint64(), every(8, lambda i: 2**64 - 1 - i, FEW)),
)
SPECIAL = [0.0, -0.0, 1.5, -1.5, math.inf, -math.inf, math.nan, 5e-324, 1e308, 1 / 3]
FLOATS = Table(
    "floats",
    f32=(pa.float32(), every(9, lambda i: SPECIAL[i % 7], FEW)),
    f64=(pa.float64(), every(9, lambda i: SPECIAL[i % 10], FEW)),
)
HALVES = Table("halves", f16=(pa.float16(), [0.0, -0.0, 1.5, math.inf, math.nan, 65504.0, None, 2.0**-24]))
DECIMALS = Table(
    "decimals",
    d4=(pa.decimal128(4, 2), every(5, lambda i: D(i * 37 - 700) / 100, FEW)),
    d9=(pa.decimal128(9, 0), every(6, lambda i: D((-1) ** i * (999_999_999 - i)), FEW)),
    d18=(pa.decimal128(18, 6), every(7, lambda i: D((-1) ** i * (10**17 + i)) / 10**6, FEW)),
    d38=(
        pa.decimal128(38, 10),
        every(8, lambda i: D((-1) ** i * (10**37 + 3**i)).scaleb(-10, decimal.Context(prec=60)), FEW),
    ),
)
WIDE_DECIMALS = Table(
    "wide_decimals",
    d60=(
        pa.decimal256(60, 5),
        every(4, lambda i: D((-1) ** i * 10**58 + i).scaleb(-5, decimal.Context(prec=80)), FEW),
    ),
)
MICROS = 1_600_000_000 * 10**6
TIMES = Table(
    "times",
    date=(pa.date32(), every(5, lambda i: datetime.date(1960 + i, 1 + i % 12, 1 + i % 28), FEW)),
    ts_ms=(pa.timestamp("ms"), every(6, lambda i: i * 10**11 - 10**12, FEW)),
    ts_us=(pa.timestamp("us"), every(7, lambda i: MICROS * (i - 20) // 20 + i, FEW)),
    ts_ns=(pa.timestamp("ns"), every(8, lambda i: (i - 20) * 10**17 + i, FEW)),
    ts_zone=(pa.timestamp("us", "Europe/Berlin"), every(7, lambda i: MICROS + i * DAY * 10**6, FEW)),
    time_us=(pa.time64("us"), every(5, lambda i: i * 2_100_000_001, FEW)),
)
COARSE_TIMES = Table(
    "coarse_times",
    date64=(pa.date64(), every(5, lambda i: datetime.date(1960 + i, 2, 28), FEW)),
    ts_s=(pa.timestamp("s"), every(6, lambda i: i * 10**8 - 10**9, FEW)),
    ts_s_zone=(pa.timestamp("s", "UTC"), every(6, lambda i: i * 10**8, FEW)),
    time_ms=(pa.time32("ms"), every(5, lambda i: i * 2_100_001, FEW)),
    time_ns=(pa.time64("ns"), every(5, lambda i: i * 2_100_000_000_001, FEW)),
    duration=(pa.duration("ms"), every(5, lambda i: i * 77 - 500, FEW)),
)
TEXTS = Table(
    "texts",
    text=(pa.string(), every(5, lambda i: ["", "a", "größer", "a text longer than twelve bytes"][i % 4], FEW)),
    large=(pa.large_string(), every(6, lambda i: "large %d" % (i // 10), FEW)),
    bytes=(pa.binary(), every(7, lambda i: bytes(range(i % 20)), FEW)),
    fixed=(pa.binary(5), every(8, lambda i: b"%05d" % i, FEW)),
)
VIEWS = Table(
    "views",
    text=(pa.string_view(), every(5, lambda i: ["", "a", "größer", "a text longer than twelve bytes"][i % 4], FEW)),
    bytes=(pa.binary_view(), every(7, lambda i: bytes(range(i % 20)), FEW)),
)
CATEGORIES = Table(
    "categories",
    text=(pa.dictionary(pa.int32(), pa.string()), every(6, lambda i: "kind %d" % (i * i % 5), FEW)),
)
POINT = pa.struct([("x", pa.int32()), ("y", pa.string())])


def point(i):
    return {"x": None if i % 3 == 0 else i, "y": None if i % 4 == 0 else "y%d" % i}


NESTED = Table(
    "nested",
    point=(POINT, every(5, point, FEW)),
    lists=(
        pa.list_(pa.list_(pa.int64())),
        every(4, lambda i: [None if j == 1 else list(range(j)) for j in range(i % 4)], FEW),
    ),
    points=(pa.list_(POINT), every(6, lambda i: [None if j == 2 else point(i + j) for j in range(i % 5)], FEW)),
    deep=(
        pa.struct([("a", pa.struct([("b", pa.list_(pa.string()))]))]),
        every(7, lambda i: {"a": None if i % 3 == 0 else {"b": None if i % 3 == 1 else ["s%d" % i, None]}}, FEW),
    ),
)
MAPS = Table(
    "maps",
    map=(
        pa.map_(pa.string(), pa.int32()),
        every(5, lambda i: [("k%d" % j, None if j == 1 else i * j) for j in range(i % 4)], FEW),
    ),
)
# Row i is in group i // 10. Values ascend, so that every group has bounds of its own; group 2 of
# `maybe` is all null and group 3 half null.
GROUPS, GROUP_ROWS = 6, 10
ALL = range(GROUPS * GROUP_ROWS)
GROUPED = Table(
    "grouped",
    id=(pa.int32(), list(ALL)),
    small=(pa.int16(), [i - 30 for i in ALL]),
    maybe=(pa.int64(), [None if 20 <= i < 30 or 30 <= i < 40 and i % 2 else i * 10 for i in ALL]),
    unsigned=(pa.uint32(), [2**31 - 30 + i for i in ALL]),
    day=(pa.date32(), [EPOCH + datetime.timedelta(days=i - 30) for i in ALL]),
    at=(pa.timestamp("us"), [(i - 30) * 3_600_000_000 for i in ALL]),
    zoned=(pa.timestamp("ms", "UTC"), [(i - 30) * 3_600_000 for i in ALL]),
    price=(pa.decimal128(9, 2), [D(i - 30) / 4 for i in ALL]),
    total=(pa.decimal128(30, 3), [D(i - 30) * 10**20 for i in ALL]),
    real=(pa.float64(), [math.nan if i % GROUP_ROWS == 7 else i / 2 for i in ALL]),
    constant=(pa.int32(), [i // GROUP_ROWS for i in ALL]),
)


# ---- the files --------------------------------------------------------------------------------


def told(name, table, rows=None):
    files[name] = {"table": table.name, "rows": table.rows if rows is None else rows}
    return HERE / name


def pyarrow_parquet(name, table, data=None, **options):
    data = table.arrow() if data is None else data
    pq.write_table(data, told("pyarrow-%s.parquet" % name, table, data.num_rows), **options)


def pyarrow_files():
    for codec in CODECS:
        for page in ["1.0", "2.0"]:
            for dictionary in [True, False]:
                name = "%s-v%s-%s" % (codec, page[0], "dictionary" if dictionary else "plain")
                pyarrow_parquet(
                    name, MIXED, compression=codec, data_page_version=page, use_dictionary=dictionary,
                    data_page_size=200, write_batch_size=16, store_schema=False,
                )
    for page in ["1.0", "2.0"]:
        pyarrow_parquet(
            "delta-v" + page[0], MIXED, use_dictionary=False, data_page_version=page, row_group_size=40,
            column_encoding={
                "id": "DELTA_BINARY_PACKED", "number": "DELTA_BINARY_PACKED", "real": "BYTE_STREAM_SPLIT",
                "text": "DELTA_BYTE_ARRAY", "flag": "RLE", "list.list.element": "DELTA_BINARY_PACKED",
            },
        )
    pyarrow_parquet(
        "delta-length", TEXTS, use_dictionary=False,
        column_encoding={
            "text": "DELTA_LENGTH_BYTE_ARRAY", "large": "DELTA_LENGTH_BYTE_ARRAY",
            "bytes": "DELTA_BYTE_ARRAY", "fixed": "BYTE_STREAM_SPLIT",
        },
    )
    split = ["i32", "i64", "u32", "u64"]
    pyarrow_parquet(
        "split", INTEGERS, use_dictionary=False, column_encoding={c: "BYTE_STREAM_SPLIT" for c in split}
    )
    pyarrow_parquet("checked", MIXED, write_page_checksum=True, write_page_index=True)
    pyarrow_parquet("bare", MIXED, store_schema=False, write_statistics=False)
    pyarrow_parquet("integers-1.0", INTEGERS, version="1.0")
    for table in [
        INTEGERS, FLOATS, HALVES, DECIMALS, WIDE_DECIMALS, TIMES, COARSE_TIMES, TEXTS, VIEWS,
        CATEGORIES, NESTED, MAPS,
    ]:
        pyarrow_parquet(table.name, table)
    pyarrow_parquet("decimals-as-integers", DECIMALS, store_decimal_as_integer=True)
    pyarrow_parquet("times-int96", TIMES, use_deprecated_int96_timestamps=True)
    pyarrow_parquet("times-bare", TIMES, store_schema=False)
    pyarrow_parquet("no-rows", MIXED, MIXED.arrow().slice(0, 0))
    with pq.ParquetWriter(told("pyarrow-no-groups.parquet", MIXED, 0), MIXED.arrow().schema):
        pass
    pyarrow_parquet("grouped", GROUPED, row_group_size=GROUP_ROWS)
    pyarrow_parquet("grouped-integers", GROUPED, row_group_size=GROUP_ROWS, store_decimal_as_integer=True)
    pyarrow_parquet("grouped-blind", GROUPED, row_group_size=GROUP_ROWS, write_statistics=False)

    ipc = [
        MIXED, INTEGERS, FLOATS, HALVES, DECIMALS, WIDE_DECIMALS, TIMES, COARSE_TIMES, TEXTS, VIEWS,
        CATEGORIES, NESTED, MAPS,
    ]
    for table in ipc:
        pyarrow_ipc(table.name, table)
    for codec in ["lz4", "zstd"]:
        pyarrow_ipc("mixed-" + codec, MIXED, compression=codec)
        pyarrow_ipc("views-" + codec, VIEWS, compression=codec)
    pyarrow_ipc("mixed-v4", MIXED, metadata_version=pa.ipc.MetadataVersion.V4)
    pyarrow_ipc("unified", CATEGORIES, unify_dictionaries=True)
    pyarrow_ipc("delta", GROWING, batches=growing_batches(), emit_dictionary_deltas=True)
    stream("replaced", GROWING, growing_batches(), pa.ipc.IpcWriteOptions())
    runs = pa.run_end_encoded(pa.int32(), pa.string())
    encoded = pa.table({"text": pa.RunEndEncodedArray.from_arrays([15, 30, 40], ["a", None, "b"], runs)})
    pyarrow_ipc("runs", RUNS, batches=encoded.to_batches())
    pyarrow_ipc("others", OTHERS)
    pyarrow_ipc("list-views", LIST_VIEWS)
    empty = MIXED.arrow().slice(0, 0).to_batches() or [pa.RecordBatch.from_pylist([], MIXED.arrow().schema)]
    some = MIXED.arrow().to_batches()
    pyarrow_ipc("empty-between", MIXED, batches=[*empty, some[0].slice(0, 50), *empty, some[0].slice(50), *empty])
    pyarrow_ipc("no-rows", MIXED, batches=empty)
    pyarrow_ipc("no-batches", MIXED, batches=[])
    pyarrow_parquet("nothing", NOTHING)
    pyarrow_ipc("nothing", NOTHING, batches=[])


GROWING = Table("growing", kind=(pa.string(), ["a", "b", "a", "b", "c", None, "d", "a", "c"]))
RUNS = Table("runs", text=(pa.string(), ["a"] * 15 + [None] * 15 + ["b"] * 10))
OTHERS = Table(
    "others",
    null=(pa.null(), [None] * 6),
    pair=(pa.list_(pa.int32(), 2), [[1, 2], None, [3, None], [4, 5], [6, 7], [8, 9]]),
    large_list=(pa.large_list(pa.string()), [["a"], [], None, ["b", None], ["c"], []]),
    d7=(pa.decimal32(7, 2), [D("1.25"), None, D("-99999.99"), D(0), D(1), D(2)]),
    d16=(pa.decimal64(16, 2), [D("1.25"), None, D("-99999999999999.99"), D(0), D(1), D(2)]),
)
LIST_VIEWS = Table("list_views", view=(pa.list_view(pa.int32()), [[1, 2], None, [], [3, None], [4], [5]]))


NOTHING = Table("nothing")
KEYS = [bytes(range(i, i + 16)) for i in range(4)]
EXTRAS = Table(
    "extras",
    key=(pa.binary(16), [KEYS[0], None, KEYS[2], KEYS[3]]),
    kind=(pa.string(), ["low", "high", None, "low"]),
    wide=(pa.float64(), [1.0, -2.0, None, 2.0**100]),
)


def growing_batches():
    """Three batches, whose dictionaries each begin with the one before."""
    kind = pa.dictionary(pa.int8(), pa.string())
    parts = [([0, 1, 0], "ab"), ([1, 2, None], "abc"), ([3, 0, 2], "abcd")]
    return [
        pa.record_batch({"kind": pa.DictionaryArray.from_arrays(pa.array(keys, pa.int8()), list(values)).cast(kind)})
        for keys, values in parts
    ]


def pyarrow_ipc(name, table, batches=None, **options):
    """As a file and as a stream."""
    options = pa.ipc.IpcWriteOptions(**options)
    if batches is None:
        whole = table.arrow().combine_chunks().to_batches()[0]
        half = table.rows // 2
        batches = [whole.slice(0, half), whole.slice(half)]
    schema = batches[0].schema if batches else table.arrow().schema
    rows = sum(batch.num_rows for batch in batches)
    with pa.ipc.new_file(told("pyarrow-%s.arrow" % name, table, rows), schema, options=options) as sink:
        for batch in batches:
            sink.write_batch(batch)
    stream(name, table, batches, options, schema)


def stream(name, table, batches, options, schema=None):
    schema = batches[0].schema if schema is None else schema
    rows = sum(batch.num_rows for batch in batches)
    with pa.ipc.new_stream(told("pyarrow-%s.arrows" % name, table, rows), schema, options=options) as sink:
        for batch in batches:
            sink.write_batch(batch)


def duckdb_files():
    def write(name, table, **options):
        source = table.arrow()  # found by DuckDB under this name
        target = told("duckdb-%s.parquet" % name, table)
        options = "".join(", %s '%s'" % option for option in options.items())
        duckdb.sql("SELECT * FROM source").query(
            "t", "COPY t TO '%s' (FORMAT parquet%s)" % (target, options)
        )
        del source

    for table in [MIXED, INTEGERS, FLOATS, DECIMALS, TIMES, NESTED, MAPS]:
        write(table.name, table)
    for codec in ["uncompressed", "gzip", "brotli", "lz4_raw", "zstd"]:
        write("mixed-" + codec, MIXED, codec=codec)
    for version in ["V1", "V2"]:
        write("mixed-" + version.lower(), MIXED, parquet_version=version)
        write("integers-" + version.lower(), INTEGERS, parquet_version=version)
    write("grouped", GROUPED)
    keys = ["'%s'::uuid" % uuid.UUID(bytes=key) for key in KEYS]
    duckdb.sql(
        """COPY (SELECT * FROM (VALUES
            (%s, 'low'::enum('low', 'high'), 1::hugeint), (NULL, 'high', -2),
            (%s, NULL, NULL), (%s, 'low', 2::hugeint ** 100)
        ) t(key, kind, wide)) TO '%s' (FORMAT parquet)"""
        % (keys[0], keys[2], keys[3], told("duckdb-extras.parquet", EXTRAS))
    )


def polars_files():
    def frame(table):
        return polars.from_arrow(table.arrow())

    for table in [MIXED, INTEGERS, FLOATS, DECIMALS, TIMES, TEXTS, NESTED]:
        frame(table).write_parquet(told("polars-%s.parquet" % table.name, table))
        frame(table).write_ipc(told("polars-%s.arrow" % table.name, table), compat_level=polars.CompatLevel.newest())
        frame(table).write_ipc_stream(
            told("polars-%s.arrows" % table.name, table), compat_level=polars.CompatLevel.newest()
        )
    for codec in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        frame(MIXED).write_parquet(
            told("polars-mixed-%s.parquet" % codec, MIXED), compression=codec, row_group_size=40, data_page_size=200
        )
    for codec in ["lz4", "zstd"]:
        frame(MIXED).write_ipc(told("polars-mixed-%s.arrow" % codec, MIXED), compression=codec)
    frame(MIXED).write_ipc(told("polars-mixed-old.arrow", MIXED), compat_level=polars.CompatLevel.oldest())
    frame(CATEGORIES).write_parquet(told("polars-categories.parquet", CATEGORIES))
    frame(CATEGORIES).write_ipc(told("polars-categories.arrow", CATEGORIES))
    frame(GROUPED).write_parquet(told("polars-grouped.parquet", GROUPED), row_group_size=GROUP_ROWS)


def main():
    for old in HERE.iterdir():
        if old.suffix in {".parquet", ".arrow", ".arrows"}:
            old.unlink()
    pyarrow_files()
    duckdb_files()
    polars_files()
    lines = [
        '    "%s": {%s}' % (name, ",\n      ".join(
            "%s: %s" % (json.dumps(c), json.dumps(v, ensure_ascii=False)) for c, v in table.items()
        ))
        for name, table in contents.items()
    ]
    listed = ["    %s: %s" % (json.dumps(name), json.dumps(what)) for name, what in sorted(files.items())]
    text = '{\n  "tables": {\n%s\n  },\n  "files": {\n%s\n  }\n}\n' % (",\n".join(lines), ",\n".join(listed))
    (HERE / "contents.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
