"""Records what Apache Spark answers at the edges of its types.

    pip install pyspark==4.3.0
    python tests/spark/record.py tests/spark/answers.jsonl

One line for each (ansi, expression, types): `rows` holds the operands and the answer of every row.
Values are text: integers and unscaled decimals in decimal digits, dates as days and timestamps as
microseconds since 1970, floats as the hexadecimal digits of their bits, `null`, and `!CLASS` for an
error of that class. `tests/tests/spark.rs` asks Unlade the same.
"""

import decimal
import json
import logging
import re
import struct
import sys

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

INTEGERS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
DECIMALS = {"decimal(5,2)": (5, 2), "decimal(18,0)": (18, 0), "decimal(38,10)": (38, 10)}
PAIRED = 8
# What constants beside a column do, and columns of two types beside each other.
NUMBERS = [*INTEGERS, "float", "double", *DECIMALS]
WITH_CONSTANTS = [
    *("x + 100", "100 - x", "x - 128", "x * 3", "x % 7", "x / 2", "x div 2", "x + 3000000000"),
    *("x + 1.5", "x * 2.5e0", "x % 0.3e0", "x / 0.5", "x div 2.0", "x + 0", "x + -1"),
    *("x > 100", "100 >= x", "x >= 300", "x <= 3000000000", "x < -129", "x = 1.5", "x < 2.5e0"),
    *("x <=> 16777217", "x = 9007199254740993", "x = 9007199254740993e0", "x > 9.2233720368547758e18"),
    *("x <> 0.1", "x = 0.1", "x = -0.0", "x + 1 > 5", "x * 100 < 99"),
    *("x between -1 and 99.995", "x between 1e0 and 16777217", "x in (1, 100, 1.5)", "x in (0.1, -0.5)"),
    *("x in (1, 9007199254740993, null)", "x in (9007199254740993e0)", "x in (16777217, 128)"),
    *("coalesce(x, 100)", "coalesce(x, 1.5)", "coalesce(x, 0.1e0)", "coalesce(x, 9007199254740993)"),
    *("if(x > 0, x, 1000)", "case x when 100 then 1 else x end", "case when x > 1 then 2.5 else x end"),
    *("nullif(x, 100)", "nullif(x, 1.5)", "nullif(x, 16777217)"),
]
MIXED = [
    *(("tinyint", "int"), ("smallint", "bigint"), ("bigint", "double"), ("int", "float"), ("bigint", "float")),
    *(("float", "double"), ("decimal(5,2)", "double"), ("decimal(5,2)", "float"), ("int", "decimal(5,2)")),
    *(("bigint", "decimal(18,0)"), ("decimal(5,2)", "decimal(18,0)")),
]
TYPES = ["boolean", *INTEGERS, "float", "double", "date", "timestamp", "timestamp_ntz", *DECIMALS]


def double_bits(value):
    return struct.pack(">d", value).hex()


def float_bits(value):
    return struct.pack(">f", value).hex()


def rounded_to_float(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


def doubles():
    nan, inf = float("nan"), float("inf")
    values = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, 0.1, 0.005, 0.015, -0.025, 1.005, 99.995, 123456.789]
    values += [1e-320, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e15, 1e16, 1e22, 1e23, 3.4028235677973366e38]
    for bits in (7, 8, 15, 16, 31, 32, 53, 63, 64):
        for edge in (2.0**bits, -(2.0**bits)):
            values += [edge, edge - 1, edge - 0.5, edge + 1]
    values += [9.223372036854775e18, 999.994999, 999.995, 999.99, 1e18, 9.99e17, 1e28, 9e27, -1e28]
    return dedupe(values + [nan, inf, -inf], double_bits)


def floats():
    inside = [v for v in doubles() if abs(v) < 3.4028235e38 or v != v or abs(v) == float("inf")]
    return dedupe([rounded_to_float(v) for v in inside] + [3.4028234663852886e38, 1e-45], float_bits)


def dedupe(values, key):
    return list({key(value): value for value in values}.values())


def integers(bits):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = {0, 1, -1, 2, 7, -7, 100, lowest, lowest + 1, highest, highest - 1}
    for other in (8, 16, 32, 53):
        values |= {2 ** (other - 1), 2 ** (other - 1) - 1, -(2 ** (other - 1)), -(2 ** (other - 1)) - 1, 2**other + 1}
    values |= {999, 1000, 99999, 10**9, 10**18 - 1, 10**18, 9223372036854, 9223372036855}
    return sorted(value for value in values if lowest <= value <= highest)


def values_of(ty):
    """Pairs of a value's text and the SQL that makes it."""
    if ty == "boolean":
        known = [("true", "true"), ("false", "false")]
    elif ty in INTEGERS:
        known = [(str(v), f"cast('{v}' as {ty})") for v in integers(INTEGERS[ty])]
    elif ty == "double":
        known = [(double_bits(v), f"cast('{v!r}' as double)") for v in doubles()]
    elif ty == "float":
        known = [(float_bits(v), f"cast(cast('{v!r}' as double) as float)") for v in floats()]
    elif ty == "date":
        days = [0, 1, -1, 11016, -719162, -719163, 2932896, 106751991, -106751991, 106751992, 2**31 - 1, -(2**31)]
        known = [(str(v), f"date_from_unix_date({v})") for v in days]
    elif ty.startswith("timestamp"):
        micros = [0, 1, -1, 999999, 1000000, -1000000, -1500000, 86399999999, -86400000000, -86400000001]
        micros += [127 * 10**6, 128 * 10**6, 2**31 * 10**6 - 1, 2**31 * 10**6, -(2**31) * 10**6 - 1]
        micros += [951782400000000, 2**53 + 1, 2**63 - 1, -(2**63)]
        made = "timestamp_micros({})" if ty == "timestamp" else "cast(timestamp_micros({}) as timestamp_ntz)"
        known = [(str(v), made.format(f"cast('{v}' as bigint)")) for v in micros]
    else:
        precision, scale = DECIMALS[ty]
        top = 10**precision - 1
        unscaled = {0, 1, -1, 49, 50, -50, 51, 149, 150, 250, -250, top, -top, top - 1, 10**scale, 3 * 10**scale // 2}
        for bits in (8, 16, 32, 64):
            for edge in (2 ** (bits - 1), -(2 ** (bits - 1)) - 1):
                unscaled |= {edge * 10**scale, (edge - 1) * 10**scale, edge * 10**scale - 1}
        unscaled = sorted(v for v in unscaled if abs(v) <= top)
        known = [(str(v), f"cast('{plain(v, scale)}' as {ty})") for v in unscaled]
    return [("null", f"cast(null as {ty})"), *known]


def plain(unscaled, scale):
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    text = digits[:-scale] + "." + digits[-scale:] if scale else digits
    return ("-" if unscaled < 0 else "") + text


def shown(ty, column):
    """SQL whose answer Python can hold, for an answer of a type."""
    if ty == "date":
        return f"unix_date({column})"
    if ty == "timestamp":
        return f"unix_micros({column})"
    if ty == "timestamp_ntz":
        return f"unix_micros(cast({column} as timestamp))"
    return column


def text(ty, value):
    if value is None:
        return "null"
    if ty == "boolean":
        return "true" if value else "false"
    if ty == "double":
        return double_bits(value)
    if ty == "float":
        return float_bits(value)
    if isinstance(value, decimal.Decimal):
        scale = int(ty.rstrip(")").split(",")[1])
        return str(int(value.scaleb(scale, decimal.Context(prec=60))))
    return str(value)


class Recorder:
    def __init__(self, spark, out):
        self.spark = spark
        self.out = out

    def ask(self, sql):
        """The answer's rows, or the class of the error."""
        try:
            return [row[0] for row in self.spark.sql(sql).collect()]
        except (PySparkException, Py4JJavaError) as error:
            found = re.search(r"\[([A-Z_]+)[\].]", str(error))
            return "!" + (found.group(1) if found else type(error).__name__)

    def result_type(self, expression, operands):
        """The type that Spark gives an expression, or nothing where it refuses it."""
        names = ", ".join(f"cast(null as {ty}) as {name}" for name, ty in zip("xy", operands))
        try:
            answer = self.spark.sql(f"select {expression} as answer from (select {names})")
        except PySparkException:
            return None
        return answer.schema[0].dataType.simpleString()

    def record(self, ansi, expression, operands, result=None):
        """Writes what Spark makes of an expression over `x` (and `y`) for all values."""
        self.spark.conf.set("spark.sql.ansi.enabled", str(ansi).lower())
        result = result or self.result_type(expression, operands)
        if result is None:
            return  # Spark has no such operation
        lefts = values_of(operands[0])
        rows = [[left] for left in lefts]
        if len(operands) == 2:
            rows = [[x, y] for x in few(lefts) for y in few(values_of(operands[1]))]
        names = ["x", "y"]
        column = shown(result, f"({expression})")

        def query(rows):
            lines = [f"({n}, {', '.join(sql for _, sql in row)})" for n, row in enumerate(rows)]
            held = ", ".join(["n", *names[: len(operands)]])
            return f"select {column} from values {', '.join(lines)} as t({held}) order by n"

        # Rows are asked for together and, where one of them is an error, in halves.
        def answers(rows):
            found = self.ask(query(rows))
            if not isinstance(found, str):
                return [text(result, value) for value in found]
            if len(rows) == 1 or found in ("!DATATYPE_MISMATCH", "!PARSE_SYNTAX_ERROR"):
                return [found] * len(rows)
            middle = len(rows) // 2
            return answers(rows[:middle]) + answers(rows[middle:])

        found = answers(rows)
        if found and found[0] == "!DATATYPE_MISMATCH":
            return  # Spark has no such operation
        line = {
            "ansi": ansi,
            "expression": expression,
            "operands": operands,
            "result": result,
            "rows": [[*(value for value, _ in row), answer] for row, answer in zip(rows, found)],
        }
        self.out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.out.flush()


def few(values):
    """So many of a type's values that all their pairs are not too many: both ends and between."""
    step = -(-len(values) // PAIRED)
    return values[:6] + values[6:-3:step] + values[-3:]


def main(path):
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.log.level", "OFF")
        .config("spark.sql.codegen.wholeStage", "false")
        .getOrCreate()
    )
    # Spark logs each error that it answers with, at length.
    logging.disable(logging.CRITICAL)
    with open(path, "w") as out:
        out.write(json.dumps({"spark": pyspark.__version__}) + "\n")
        recorder = Recorder(spark, out)
        for ansi in (False, True):
            for source in TYPES:
                for target in TYPES:
                    if source != target:
                        recorder.record(ansi, f"cast(x as {target})", [source], target)
            for ty in [*INTEGERS, "float", "double"]:
                for expression in ("-x", "abs(x)"):
                    recorder.record(ansi, expression, [ty], ty)
            for ty in ("tinyint", "bigint", "double"):
                for operator in "+-*%":
                    recorder.record(ansi, f"x {operator} y", [ty, ty], ty)
                recorder.record(ansi, "x / y", [ty, ty], "double")
                for operator in ("=", "<", "<=>"):
                    recorder.record(ansi, f"x {operator} y", [ty, ty], "boolean")
                if ty in INTEGERS:
                    recorder.record(ansi, "x div y", [ty, ty], "bigint")
            for ty in ("float", "boolean", "timestamp", "decimal(5,2)"):
                for operator in ("<", "<=>"):
                    recorder.record(ansi, f"x {operator} y", [ty, ty], "boolean")
            recorder.record(ansi, "x in (cast('nan' as double), 0.0D, null)", ["double"], "boolean")
            for ty in NUMBERS:
                for expression in WITH_CONSTANTS:
                    recorder.record(ansi, expression, [ty])
            for pair in MIXED:
                for expression in ("x + y", "x < y", "coalesce(x, y)"):
                    recorder.record(ansi, expression, list(pair))
            for expression in ("1", "3000000000", "1.50", "0.05", "1.5e0", "1 + 1", "2147483647 + 1"):
                recorder.record(ansi, expression, ["boolean"])
            print("ansi" if ansi else "legacy", "done", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
