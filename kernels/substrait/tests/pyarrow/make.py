"""Makes the fixtures of this folder with pyarrow 26: `pip install pyarrow==26.*; python make.py`.

- NAME.bin: one message each, by `pyarrow.substrait.serialize_expressions`.
- checked.bin, wrapping.bin: random expressions by seed over the columns of COLUMNS, more than a thousand in all.
- checked.txt, wrapping.txt: those columns' values, and what pyarrow's functions compute on every row by
  itself: an integer (of floats, dates, timestamps and decimals that which holds them),
  `null`, or `error`.
"""

import decimal
import pathlib
import random
import struct

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.substrait as ps

HERE = pathlib.Path(__file__).parent
SEED = 6
UTC = pa.timestamp("us", "UTC")
MONEY = pa.decimal128(15, 2)


def main():
    for name, (expressions, schema) in fixtures().items():
        if not isinstance(expressions, list):
            expressions = [expressions]
        names = [name] if len(expressions) == 1 else [f"{name}{n}" for n in range(len(expressions))]
        arrow = name.startswith("arrow_")
        message = ps.serialize_expressions(expressions, names, schema, allow_arrow_extensions=arrow)
        (HERE / f"{name}.bin").write_bytes(message)
    differential("checked", True, 800)
    differential("wrapping", False, 350)


def fixtures():
    types = {
        "a": pa.int32(), "b": pa.float64(), "s": pa.string(), "d": pa.date32(), "dec": MONEY, "ts": UTC,
        "at": pa.timestamp("us"), "big": pa.int64(), "small": pa.int8(), "p": pa.bool_(), "u": pa.uint32(),

    }
    schema = pa.schema(types)
    a, b, s, d, dec, ts, at, big, small, p, u = [pc.field(name) for name in types]
    one = {
        "gt": a > 100, "gte": a >= 5, "lt": a < 5, "lte": a <= 5, "equal": a == 100, "not_equal": a != 5,
        "column": a, "is_null": a.is_null(), "is_valid": a.is_valid(), "not": ~(a > 1),
        "and_or": ((a > 1) & (b < 2.5)) | (a == 7), "arithmetic": (a + 1) * 2 - a > 5,
        "divide": big / 3 == 4, "wrapping_add": pc.add(a, 1) > 0, "negate": pc.negate_checked(a) > 0,
        "abs": pc.abs_checked(a) > 5, "floats": b * 2.0 + 1.0 > b,
        "cast": a.cast(options=pc.CastOptions.unsafe(pa.int64())) > 1,
        "isin": a.isin([1, 2, 3]), "isin_small": small.isin([1, None, 300]),
        "if_else": pc.if_else(a > 1, b, 0.0), "coalesce": pc.coalesce(a, 1) > 1,
        "case_when": pc.case_when(pc.make_struct(a > 1, a > 2), b, b + 1),
        "dates": (d >= pa.scalar(8766, pa.date32())) & (d < pa.scalar(9131, pa.date32())),
        "decimal": dec < pa.scalar(decimal.Decimal("24.00"), MONEY),
        "timestamp_tz": ts > pa.scalar(1, UTC), "timestamp": at <= pa.scalar(-1, pa.timestamp("us")),
        "unsigned": u > pa.scalar(5, pa.uint32()), "several": [a > 100, b * 2.0],
        "arrow_xor": pc.xor(a > 1, b > 1), "null": pc.equal(a, pa.scalar(None, pa.int32())),
        # What is refused.
        "is_nan": pc.is_nan(b), "starts_with": pc.starts_with(s, "ab"), "text": s == "x",
        "arrow_year": pc.year(d) == 1994,
    }
    every = pa.schema({
        "null": pa.null(), "u8": pa.uint8(), "u16": pa.uint16(), "u64": pa.uint64(), "half": pa.float16(),
        "interval": pa.month_day_nano_interval(), "list": pa.list_(pa.int32()), "map": pa.map_(pa.string(), pa.int64()),
        "struct": pa.struct({"x": pa.int8(), "y": pa.struct({"z": pa.bool_()})}), "binary": pa.binary(),
        "fixed": pa.binary(3), "time": pa.time64("us"), "required": pa.field("required", pa.float32(), False).type,
        "last": pa.int16(),
    })
    tested = {"every_type": (pc.field("last") > pa.scalar(1, pa.int16()), every)}
    return {name: (expression, schema) for name, expression in one.items()} | tested


COLUMNS = {
    "i8": (pa.int8(), [-128, -127, -1, 0, 1, 2, 127, None]),
    "i32": (pa.int32(), [-(2**31), -(2**31) + 1, -7, -1, 0, 1, 3, 46341, 2**31 - 1, None]),
    "i64": (pa.int64(), [-(2**63), -(2**63) + 1, -10, -1, 0, 1, 10, 2**32, 2**63 - 1, None]),
    "u16": (pa.uint16(), [0, 1, 5, 65535, None]),
    "u32": (pa.uint32(), [0, 1, 2**31, 2**32 - 1, None]),
    "f32": (pa.float32(), [0.0, -0.0, 1.5, -1.0, float("inf"), float("-inf"), float("nan"), 3.4028234663852886e38, 1e-45, None]),
    "f64": (pa.float64(), [0.0, -0.0, 0.1, -2.5, float("inf"), float("-inf"), float("nan"), 1.7976931348623157e308, 5e-324, None]),
    "p": (pa.bool_(), [True, False, None]),
    "q": (pa.bool_(), [True, False, None]),
    "d": (pa.date32(), [-719162, -1, 0, 1, 8766, 2932896, None]),
    "ts": (UTC, [-62135596800000000, -1, 0, 1, 1700000000000000, None]),
    "at": (pa.timestamp("us"), [-1, 0, 1, 253402300799999999, None]),
    "m": (MONEY, [-999999999999999, -1, 0, 1, 2400, 999999999999999, None]),
}
ROWS = 20
# The numbers with what is lossless from each: serialising an expression makes casts of it that are not
# checked any more, so that others could not be told from what Substrait says, which is that they fail.
WIDER = {"i8": ["i32", "i64"], "i32": ["i64", "f64"], "f32": ["f64"], "u16": ["i32", "u32", "i64"], "u32": ["i64"]}
SIGNED, NUMBERS = ["i8", "i32", "i64"], ["i8", "i32", "i64", "f32", "f64"]


def scalar(value, type_):
    if value is not None and pa.types.is_decimal(type_):
        value = decimal.Decimal(value).scaleb(-2)
    if pa.types.is_temporal(type_) and value is not None:
        return pa.scalar(value, pa.int32() if pa.types.is_date32(type_) else pa.int64()).cast(type_)
    return pa.scalar(value, type_)


class Grown:
    """An expression, and how pyarrow's functions compute it from a table.

    Not by evaluating the expression: pyarrow first moves its constants together, by which `0 * (x * y)`
    loses the overflow of `x * y` and floats are rounded otherwise.
    """

    def __init__(self, expression, run):
        self.expression, self.run = expression, run


def call(name, *args, options=None, expression=None):
    function = getattr(pc, name)
    more = {} if options is None else {"options": options}
    if expression is None:
        expression = function(*[arg.expression for arg in args], **more)
    return Grown(expression, lambda table: function(*[arg.run(table) for arg in args], **more))


def field(name):
    return Grown(pc.field(name), lambda table: table.column(name).combine_chunks())


def constant(value, type_):
    value = scalar(value, type_)
    return Grown(pc.scalar(value), lambda _: value)


def chosen(condition, then, otherwise):
    """By a condition that is never null: what is chosen by null is null in pyarrow, and in Substrait what is
    chosen by false."""
    return call("if_else", call("coalesce", condition, constant(False, pa.bool_())), then, otherwise)


def one_of(column, values):
    """As Substrait's list: null where the value is."""
    type_ = COLUMNS[column][0]
    array = pa.array([scalar(value, type_).as_py() for value in values], type_)
    equal = [call("equal", field(column), constant(value, type_)) for value in values]
    either = equal[0]
    for each in equal[1:]:
        either = call("or_kleene", either, each)
    return Grown(pc.field(column).isin(array), either.run)


def grown(rng, of, depth, checked):
    """An expression of a column's type, or a condition."""
    below = lambda of: grown(rng, of, depth - 1, checked)
    if of == "condition":
        kind = rng.randrange(10 if depth > 0 else 2)
        if kind <= 1:
            column = rng.choice([name for name in COLUMNS if name not in ("p", "q")])
            compare = rng.choice(["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
            return call(compare, *([below(column), below(column)] if depth > 0 else [operand(rng, column), operand(rng, column)]))
        if kind == 2:
            return call("and_kleene", below("condition"), below("condition"))
        if kind == 3:
            return call("or_kleene", below("condition"), below("condition"))
        if kind == 4:
            return call("invert", below("condition"))
        if kind == 5:
            return call("is_null", below(rng.choice(list(COLUMNS))))
        if kind == 6:
            return call("is_valid", below(rng.choice(list(COLUMNS))))
        if kind == 7:
            column = rng.choice(["i8", "i32", "i64", "d", "u32"])
            return one_of(column, [value for value in rng.sample(COLUMNS[column][1], 3) if value is not None])
        if kind == 8:
            return call("coalesce", below("condition"), below("condition"))
        return field(rng.choice("pq"))
    if depth == 0 or of not in NUMBERS or rng.random() < 0.2:
        if depth > 0 and rng.random() < 0.3:
            if rng.random() < 0.5:
                return call("coalesce", operand(rng, of), operand(rng, of))
            return chosen(grown(rng, "condition", min(depth - 1, 1), checked), operand(rng, of), operand(rng, of))
        return operand(rng, of)
    kind = rng.randrange(9)
    if kind == 0:
        return chosen(below("condition"), below(of), below(of))
    if kind == 1:
        return call("coalesce", below(of), below(of))
    if kind == 2:
        narrower = [name for name, wider in WIDER.items() if of in wider]
        if narrower:
            options = pc.CastOptions.unsafe(COLUMNS[of][0])
            arg = below(rng.choice(narrower))
            return call("cast", arg, options=options, expression=arg.expression.cast(options=options))
    suffix = "_checked" if checked else ""
    if kind in (3, 4):
        return call(("negate" if kind == 3 else "abs") + suffix, below(of))
    names = ["add", "subtract", "multiply"] + (["divide"] if checked else [])
    return call(rng.choice(names) + suffix, below(of), below(of))


def operand(rng, of):
    type_, values = COLUMNS[of]
    if rng.random() < 0.6:
        return field(of)
    return constant(rng.choice([value for value in values if value is not None]), type_)


def differential(name, checked, count):
    rng = random.Random(f"{SEED} {name}")
    columns = {column: [rng.choice(values) for _ in range(ROWS)] for column, (_, values) in COLUMNS.items()}
    # Each value of a column at least once.
    for column, (_, values) in COLUMNS.items():
        columns[column][: len(values)] = rng.sample(values, len(values))
    schema = pa.schema({column: type_ for column, (type_, _) in COLUMNS.items()})
    arrays = [pa.array([scalar(value, type_).as_py() for value in columns[column]], type_) for column, (type_, _) in COLUMNS.items()]
    table = pa.table(arrays, schema=schema)
    kinds = ["condition"] * 2 + NUMBERS
    all_grown = [grown(rng, rng.choice(kinds), rng.choice([1, 2, 2, 3]), checked) for _ in range(count)]
    names = [f"x{n}" for n in range(count)]
    message = ps.serialize_expressions([each.expression for each in all_grown], names, schema)
    (HERE / f"{name}.bin").write_bytes(message)
    lines = [f"{column} {' '.join(held(value) for value in array)}" for column, array in zip(COLUMNS, arrays)]
    for each, of in zip(names, all_grown):
        rows = [answer(table.slice(row, 1), of) for row in range(ROWS)]
        lines.append(f"{each} {' '.join(rows)}")
    (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")


def answer(row, of):
    try:
        value = of.run(row)
    except pa.ArrowInvalid:
        return "error"
    return held(value if isinstance(value, pa.Scalar) else value[0])


def held(value):
    """The integer that holds a value."""
    if not value.is_valid:
        return "null"
    type_ = value.type
    if pa.types.is_float32(type_):
        return str(struct.unpack("<I", struct.pack("<f", value.as_py()))[0])
    if pa.types.is_float64(type_):
        return str(struct.unpack("<Q", struct.pack("<d", value.as_py()))[0])
    if pa.types.is_boolean(type_):
        return str(int(value.as_py()))
    if pa.types.is_decimal(type_):
        return str(int(value.as_py().scaleb(2)))
    if pa.types.is_timestamp(type_):
        return str(value.value)
    if pa.types.is_date32(type_):
        return str(value.value)
    return str(value.as_py())


main()
