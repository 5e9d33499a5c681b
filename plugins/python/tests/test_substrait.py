"""pyarrow's expressions through Substrait, against pyarrow's own answers."""

import math
import os
import random
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow.substrait import serialize_expressions

import unlade

SEED = int(os.environ.get("UNLADE_PYARROW_SEED", "1"))
CASES = int(os.environ.get("UNLADE_PYARROW_CASES", "3000"))

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float32(), pa.float64()]
NUMBERS = INTEGERS + UNSIGNED + FLOATS
ROWS = 97


def edges(kind: pa.DataType) -> list:
    """Values at the edges of a type, null among them."""
    if pa.types.is_boolean(kind):
        return [True, False, None]
    if pa.types.is_floating(kind):
        large = 3.4028234663852886e38 if kind == pa.float32() else 1.7976931348623157e308
        least = 1.401298464324817e-45 if kind == pa.float32() else 5e-324
        whole = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, math.inf, -math.inf, math.nan]
        return [*whole, large, -large, least, None]
    bits = kind.bit_width
    if pa.types.is_unsigned_integer(kind):
        return [0, 1, 2, 7, 2**bits - 1, 2**bits - 2, 2 ** (bits - 1), None]
    return [0, 1, -1, 2, -7, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 2, None]


def column_names(kind: pa.DataType) -> list[str]:
    return [f"{letter}_{kind}" for letter in "ab"]


def edge_batch(chance: random.Random) -> pa.RecordBatch:
    """Two columns of each type, each value of the one beside many of the other."""
    columns = {}
    for kind in [*NUMBERS, pa.bool_()]:
        for name in column_names(kind):
            values = [chance.choice(edges(kind)) for _ in range(ROWS)]
            columns[name] = pa.array(values, kind)
    return pa.record_batch(columns)


class Node(NamedTuple):
    """An expression, and what pyarrow's functions make of it on arrays, one after the other.

    Not what its engine makes of it: that multiplies floats in another order.
    """

    expression: pc.Expression
    value: Callable[[pa.RecordBatch], pa.Array]


def call(function: Callable, *arguments: Node) -> Node:
    """pyarrow's functions make expressions of expressions, and arrays of arrays."""
    return Node(
        function(*(argument.expression for argument in arguments)),
        lambda batch: function(*(argument.value(batch) for argument in arguments)),
    )


def constant(value: object, kind: pa.DataType) -> Node:
    scalar = pa.scalar(value, kind)
    return Node(pc.scalar(scalar), lambda batch: pa.repeat(scalar, len(batch)))


class Maker:
    """Makes up typed expressions. All of one checks overflow or none of it does: a kernel has one rule."""

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.checked = chance.random() < 0.5
        #: Whether a part may not be evaluated on a row; pyarrow evaluates all on all.
        self.lazy = False

    def expression(self, kind: pa.DataType, depth: int) -> Node:
        if depth == 0 or self.chance.random() < 0.15:
            return self.leaf(kind)
        if pa.types.is_boolean(kind):
            return self.condition(depth)
        choice = self.chance.random()
        if choice < 0.6:
            return self.arithmetic(kind, depth)
        if choice < 0.75:
            return self.widened(kind, depth)
        self.lazy = True
        left, right = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
        if choice < 0.9:
            # Where it is null pyarrow's result is null, and Substrait's `if_then`, as which it is
            # serialised, takes the other branch.
            test = call(pc.coalesce, self.expression(pa.bool_(), depth - 1), constant(False, pa.bool_()))
            return call(pc.if_else, test, left, right)
        return call(pc.coalesce, left, right)

    def leaf(self, kind: pa.DataType) -> Node:
        if self.chance.random() < 0.75:
            name = self.chance.choice(column_names(kind))
            return Node(pc.field(name), lambda batch: batch[name])
        return constant(self.chance.choice([value for value in edges(kind) if value is not None]), kind)

    def arithmetic(self, kind: pa.DataType, depth: int) -> Node:
        left, right = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
        names = ["add", "subtract", "multiply"]
        if pa.types.is_floating(kind) or self.checked:
            names.append("divide")
        name = self.chance.choice(names)
        # A checked division of floats would refuse zero, which the arrow rules do not.
        checked = self.checked and not pa.types.is_floating(kind)
        return call(getattr(pc, f"{name}_checked" if checked else name), left, right)

    def widened(self, kind: pa.DataType, depth: int) -> Node:
        """A cast that loses nothing: what pyarrow makes of others it does not define."""
        narrower = {
            pa.int16(): [pa.int8(), pa.uint8()],
            pa.int32(): [pa.int16(), pa.uint16()],
            pa.int64(): [pa.int32(), pa.uint32()],
            pa.uint64(): [pa.uint32()],
            pa.float64(): [pa.float32(), pa.int32(), pa.uint16()],
        }
        if kind not in narrower:
            return self.leaf(kind)
        narrow = self.expression(self.chance.choice(narrower[kind]), depth - 1)
        return call(lambda x: x.cast(kind, safe=False), narrow)

    def condition(self, depth: int) -> Node:
        choice = self.chance.random()
        if choice < 0.5:
            kind = self.chance.choice(NUMBERS)
            left, right = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
            compare = self.chance.choice(
                [pc.equal, pc.not_equal, pc.less, pc.less_equal, pc.greater, pc.greater_equal]
            )
            return call(compare, left, right)
        if choice < 0.6:
            kind = self.chance.choice([*NUMBERS, pa.bool_()])
            return call(self.chance.choice([pc.is_null, pc.is_valid]), self.expression(kind, depth - 1))
        if choice < 0.75:
            return call(pc.invert, self.expression(pa.bool_(), depth - 1))
        self.lazy = True
        both = [self.expression(pa.bool_(), depth - 1) for _ in range(2)]
        return call(self.chance.choice([pc.and_kleene, pc.or_kleene]), *both)


def bits(array: pa.Array) -> list[str]:
    """Values as texts that tell -0.0 from 0.0, and have all NaNs equal."""
    return [repr(value) for value in array.to_pylist()]


def test_thousands_of_expressions_give_pyarrows_answers():
    print(f"UNLADE_PYARROW_SEED={SEED} UNLADE_PYARROW_CASES={CASES}")
    equal = raised = 0
    for case in range(CASES):
        chance = random.Random(f"{SEED}/{case}")
        if case % 20 == 0:
            whole = edge_batch(chance)
        batch = whole.slice(case % 9)
        maker = Maker(chance)
        kind = chance.choice([*NUMBERS, pa.bool_(), pa.bool_(), pa.bool_()])
        expression, value = maker.expression(kind, chance.randint(1, 4))
        where = f"UNLADE_PYARROW_SEED={SEED}, case {case}: {expression}"
        kernel = unlade.compile(batch, select={"x": expression})
        try:
            wanted = value(batch)
        except pa.ArrowInvalid:
            raised += 1
            if not maker.lazy:
                with pytest.raises(unlade.TrapError):
                    kernel.run(batch)
            continue
        try:
            got = pa.array(kernel.run(batch).batch["x"])
        except unlade.TrapError as error:
            pytest.fail(f"{where}: {error}")
        assert got.type == wanted.type, where
        assert bits(got) == bits(wanted), where
        if kind == pa.bool_():
            kept = unlade.run(batch, filter=expression, select="b_int64 as x")
            rows = batch["b_int64"].filter(wanted)
            assert bits(pa.array(kept.batch["x"])) == bits(rows), where
        equal += 1
    assert equal > CASES * 0.6
    assert raised > CASES * 0.02


def test_an_empty_batch():
    chance = random.Random(SEED)
    empty = edge_batch(chance).slice(0, 0)
    for _ in range(50):
        expression, _value = Maker(chance).expression(pa.int64(), 3)
        output = unlade.run(empty, select={"x": expression})
        assert (output.num_rows, output.schema.types) == (0, ["bigint"])


@pytest.fixture
def schema() -> pa.Schema:
    return pa.schema([("a", pa.int32()), ("b", pa.int32()), ("u", pa.uint16()), ("x", pa.float64())])


def of(schema, **columns):
    """A batch of so many columns, the others null."""
    rows = len(next(iter(columns.values())))
    return pa.record_batch(
        [pa.array(columns.get(field.name, [None] * rows), field.type) for field in schema], schema=schema
    )


def test_add_wraps_and_add_checked_does_not(schema):
    most = of(schema, a=[2**31 - 1], b=[1])
    a, b = pc.field("a"), pc.field("b")
    wrapped = unlade.run(most, select={"x": pc.add(a, b)})
    assert pa.table(wrapped)["x"].to_pylist() == [-(2**31)]
    with pytest.raises(unlade.TrapError) as caught:
        unlade.run(most, select={"x": pc.add_checked(a, b)})
    assert caught.value.row == 0


def test_filter_and_columns_that_want_different_rules(schema):
    a, b = pc.field("a"), pc.field("b")
    with pytest.raises(unlade.CompileError, match="different rules") as caught:
        unlade.compile(schema, filter=pc.add(a, b) > a, select={"x": pc.add_checked(a, b)})
    assert caught.value.kind == "substrait"


def test_floats_compare_as_in_pyarrow(schema):
    data = of(schema, x=[math.nan, 0.0, -0.0])
    x = pc.field("x")
    assert unlade.run(data, filter=x == 0.0).num_rows == 2
    assert unlade.run(data, filter=x == x).num_rows == 2
    assert unlade.run(data, filter=x == 0.0, float_order="total").num_rows == 1


def test_in_lists_and_text_beside_expressions(schema):
    data = of(schema, a=[1, 2, 3, None], b=[5, 6, 7, 8])
    kept = unlade.run(data, filter=pc.field("a").isin([1, 3]), select={"a": pc.field("a"), "c": "b * 2"})
    assert pa.table(kept).to_pydict() == {"a": [1, 3], "c": [10, 14]}


def test_lists_without_values(schema):
    data = of(schema, a=[1, 2, None], b=[0, 0, 0])
    none = [pc.field("a").isin([]), (pc.field("a") / pc.field("b")).isin(pa.array([], pa.int32()))]
    for is_in in none:
        output = pa.table(unlade.run(data, select={"in": is_in, "out": ~is_in}))
        assert output.to_pydict() == {"in": [False] * 3, "out": [True] * 3}
    assert unlade.run(data, filter=none[0]).num_rows == 0


def test_messages_by_themselves(schema):
    data = of(schema, a=[1, 5, 9], b=[1, 1, 1])
    a, b = pc.field("a"), pc.field("b")
    larger = serialize_expressions([a > b], ["larger"], schema)
    both = serialize_expressions([pc.add(a, b), a], ["sum", "a"], schema)
    output = unlade.run(data, filter=larger, select=both)
    assert pa.table(output).to_pydict() == {"sum": [6, 10], "a": [5, 9]}
    assert pa.table(unlade.run(data, filter=bytes(memoryview(larger)))).num_rows == 2
    with pytest.raises(unlade.CompileError, match="one expression is asked for"):
        unlade.compile(schema, filter=both)
    other = schema.set(0, pa.field("a", pa.int64()))
    with pytest.raises(unlade.CompileError, match="the message is over .*, and the data is"):
        unlade.compile(other, filter=larger)


def test_what_pyarrow_does_not_serialise(schema):
    with pytest.raises(unlade.CompileError, match="safe=False") as caught:
        unlade.compile(schema, filter=pc.field("a").cast(pa.int64()) > pc.scalar(1))
    assert isinstance(caught.value.__cause__, pa.ArrowInvalid)
    with pytest.raises(unlade.CompileError, match=r"pa.scalar\(3, pa.uint16\(\)\)"):
        unlade.compile(schema, filter=pc.field("u") > 3)
    with pytest.raises(unlade.CompileError, match="write it as text"):
        unlade.compile(schema, filter=pc.xor(pc.field("a") > 1, pc.field("b") > 1))


def test_what_is_no_expression(schema):
    for wrong in (5, ["a"], pc.field("a")):
        with pytest.raises(TypeError, match="expression"):
            unlade.compile(schema, **({"select": wrong} if isinstance(wrong, pc.Expression) else {"filter": wrong}))
    with pytest.raises(unlade.CompileError, match="ExtendedExpression"):
        unlade.compile(schema, filter=b"\xff\xff\xff")
