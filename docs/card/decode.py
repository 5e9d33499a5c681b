#!/usr/bin/env python3
"""Decodes and checks the structures of docs/CARD.md.

    decode.py --check docs/card/vectors.toml   compares every vector's bytes with its fields, both ways
    decode.py bytecode 554e4c42...             prints the fields, and what a card says to it
    decode.py descriptor 554e4c4a... --program 7=554e4c42...

Layouts, codes, limits and the shape of each operation are read from the document's tables when this starts, so that
the two cannot drift apart. What the document says in prose is written out here, with its section. Nothing is executed:
of an execution the sizes, the rows kept, the checksums and the form of the result block are checked.
"""

import argparse
import itertools
import pathlib
import re
import sys
import tomllib
from typing import Callable, NamedTuple

ALL_ONES = 2**32 - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(KINDS), metavar="KIND", help=", ".join(sorted(KINDS)))
    parser.add_argument("hex", nargs="*", help="the bytes in the order of memory; spaces are ignored")
    parser.add_argument("--check", metavar="FILE", help="check a file of vectors")
    parser.add_argument("--program", action="append", default=[], metavar="HANDLE=HEX",
                        help="bytecode to check the RUN steps of a descriptor against")
    options = parser.parse_args()
    if options.check:
        return check_file(options.check)
    if not options.hex:
        parser.error("give a kind and hex, or --check")
    try:
        data = bytes.fromhex("".join(options.hex))
        pairs = [program.split("=") for program in options.program]
        programs = {int(handle, 0): load(bytes.fromhex(code)) for handle, code in pairs}
    except (ValueError, Fault) as error:
        parser.error(str(error))
    return show(KINDS[options.kind], data, Card(programs=programs or None))


def show(structure, data, card):
    """Prints the fields of a structure, with the vectors' names, a line for each part, and then the faults."""
    fields = decode(structure, data)
    for part, names in itertools.groupby(fields, lambda name: name.rpartition(".")[0]):
        values = (f"{name[len(part):].strip('.')} {fields[name]!r}" for name in names)
        print(f"{part}: " * bool(part) + ("  " if part else "\n").join(values))
    faults = list(structure.faults(data, card))
    print(*faults or ["no fault"], sep="\n")
    return 1 if faults else 0


# Section 17: the vectors.


class Card(NamedTuple):
    """What is known of a card and its host, where a structure is checked."""

    lacks: set = frozenset()  # names of operations and features
    programs: dict | None = None  # by handle
    lists: dict = {}  # segment lists by IOVA
    queue: int | None = None  # of a submission entry; pair 1 is there then


def check_file(path):
    with open(path, "rb") as file:
        vectors = tomllib.load(file)["vector"]
    programs = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in vectors if vector["kind"] == "bytecode"}
    problems = [f"CARD.md: {problem}" for problem in check_document()]
    for vector in vectors:
        problems += [f"{vector['name']}: {problem}" for problem in check_vector(vector, programs)]
    fields = sum(len(vector["fields"]) for vector in vectors)
    print(*problems, f"{len(vectors)} vectors, {fields} fields, {len(problems)} problems", sep="\n")
    return 1 if problems or not vectors else 0


def check_document():
    """Sections 1 and 11 give something to check oneself by."""
    if crc32c(b"123456789") != 0xE3069283:
        yield "CRC-32C of 123456789 is another"
    counts = [count for (operation, *_), count in ADMITTED.items() if operation not in ("KEEP", "EMIT_MASK", "STORE")]
    said = re.search(r"lists (\d+) entries,\s+with (\d+) variants", DOCUMENT.text)
    if [len(counts), sum(counts)] != [int(number) for number in said.groups()]:
        yield f"all operations make {len(counts)} entries with {sum(counts)} variants, not as section 11 says"


def check_vector(vector, programs):
    """Yields each place where the bytes of a vector and its fields do not say the same."""
    kind, data, stated = vector["kind"], bytes.fromhex(vector["hex"]), dict(vector["fields"])
    try:
        if kind == "execution":
            check_execution(data, stated, load(programs[stated.pop("program")]))
        elif kind.startswith("refused"):
            known = {int(stated.pop("handle"), 0): load(programs[stated.pop("program")])} if "program" in stated else {}
            lists = {int(stated.pop("list_iova"), 0): bytes.fromhex(stated.pop("list"))} if "list" in stated else {}
            card = Card(set(stated.pop("lacks", "").split()), known, lists, int(stated.pop("queue", "0")))
            if unknown := card.lacks - {*FEATURES.values()} - {operation.name for operation in OPERATIONS.values()}:
                yield f"lacks: no operation or feature {' '.join(unknown)}"
            faults = {"refused": load_faults, "refused_job": job_faults, "refused_sqe": sqe_faults}[kind]
            yield from check_refusal(stated, list(faults(data, card)))
        else:
            name = stated.pop("register").lower() if kind == "register" else kind
            handles = [int(text, 0) for name, text in stated.items() if re.fullmatch(r"step\.\d+\.program", name)]
            known = dict.fromkeys(handles, load(programs[vector["program"]])) if handles else None
            yield from check_structure(KINDS[name], data, stated, Card(programs=known))
    except (KeyError, ValueError, Fault) as error:
        yield f"{type(error).__name__}: {error}"


def check_structure(structure, data, stated, card):
    decoded = decode(structure, data)
    fields = {name: text if isinstance(decoded.get(name), str) else int(text, 0) for name, text in stated.items()}
    for name in sorted(decoded.keys() | fields.keys()):
        if decoded.get(name) != fields.get(name):
            yield f"{name}: stated {fields.get(name)}, decoded {decoded.get(name)}"
    # An encoder has nothing but the stated fields, so these alone have to give the bytes.
    if (encoded := encode(structure, fields, len(data))) != data:
        yield f"hex: the fields encode to {encoded.hex()}"
    yield from structure.faults(data, card)


def check_refusal(stated, faults):
    """Each of these vectors has one fault, though it may break several rules at its place."""
    wanted = {name: int(text, 0) for name, text in stated.items()}
    found = [{"status": STATUS[fault.status], "dw0": fault.dw0, "dw1": fault.dw1} for fault in faults]
    if not found or any(outcome != wanted for outcome in found):
        yield f"stated {stated}, decoded {' or '.join(map(str, faults)) or 'no fault'}"


def check_execution(data, stated, program):
    """Section 7, "Arguments of RUN" to "Checksum block", and section 8. Raises ValueError at the first problem."""
    def must(good, what):
        if not good:
            raise ValueError(what)

    def number(name):
        return int(stated.pop(name), 0)

    def block(name, kind, rows, bit_offset=None):
        """The bytes of a buffer. Only of outputs, which have no bit offset, are the bits behind the last row zero."""
        content = bytes.fromhex(stated.pop(name))
        must((bit_offset or 0) in range(8 if kind == "mask" else 1), f"{name}: bit offset {bit_offset}")
        must(len(content) == buffer_size(kind, rows, bit_offset or 0), f"{name}: {len(content)} bytes")
        if bit_offset is None:
            must(not int.from_bytes(content, "little") >> rows * BITS[kind], f"{name}: bits behind the last row")
        return content

    flags, declared, result = program.header["flags"], program.declared, decode(KINDS["result"], data)
    rows, trapped, kept, trap_row = number("rows"), number("trapped"), result["rows_kept"], result["row_of_the_trap"]
    for i, (kind, nullable) in enumerate(declared["column"]):
        block(f"column.{i}.values", kind, rows, number(f"column.{i}.values_bit_offset"))
        if stated[f"column.{i}.validity"] == "absent":
            del stated[f"column.{i}.validity"]
        else:
            must(nullable, f"column.{i}: not nullable")
            block(f"column.{i}.validity", "mask", rows, number(f"column.{i}.validity_bit_offset"))
    for i, _ in enumerate(declared["parameter"]):
        must(0 <= number(f"parameter.{i}") < 2**128, f"parameter.{i}: more than 16 bytes")
    for thing in "table", "set":
        for i, (kind, _) in enumerate(declared[thing]):
            size = len(bytes.fromhex(stated.pop(f"{thing}.{i}")))
            must(size % entry_size(kind) == 0, f"{thing}.{i}: part of an entry")
    must(trapped == (trap_row != 2**64 - 1), f"trapped: {trapped}")
    if trapped:
        ordinals = [word["immediate"] % 2**32 for word in program.words if word["operation"] == TRAP]
        must(not kept and trap_row < rows and result["ordinal_of_the_trap"] in ordinals, "hex: rows, trap or ordinal")
    else:
        must(kept <= rows if flags & KEEP else kept == rows, "hex: rows kept")
        must(not result["ordinal_of_the_trap"], "hex: an ordinal without a trap")
        blocks = [block("mask", "mask", rows)] if flags & EMIT_MASK else []
        must(all(int.from_bytes(mask, "little").bit_count() == kept for mask in blocks), "mask: other than rows kept")
        for i, (kind, valid) in enumerate(declared["output"]):
            blocks.append(block(f"output.{i}.values", kind, kept))
            blocks.append(block(f"output.{i}.validity", "mask", kept) if valid else b"")
        checksums = b"".join(crc32c(content).to_bytes(4, "little") for content in blocks).hex()
        must(stated.pop("checksums") == checksums, f"checksums: computed {checksums}")
    must(not stated, f"{', '.join(stated)}: of nothing in the program")
    for fault in KINDS["result"].faults(data, Card()):
        raise fault


# Section 9: bytecode.


class Fault(Exception):
    """What a card refuses, with a status; or what a card must not write, without one."""

    def __init__(self, why, status=None, dw0=0, dw1=0):
        super().__init__(why)
        self.status, self.dw0, self.dw1 = status, dw0, dw1

    def __str__(self):
        if not self.status:
            return f"wrong: {self.args[0]}"
        return f"{self.status} ({STATUS[self.status]:#06x}), DW0 {self.dw0:#x}, DW1 {self.dw1}: {self.args[0]}"


class Program(NamedTuple):
    header: dict
    declared: dict  # of each thing a list of (type, flag)
    words: list


def load(data, lacks=frozenset()):
    """The checks of "Load errors" in their order, with the limits of the format. Raises the first fault."""
    def need(good, status, at, why):
        if not good:
            raise Fault(why, status, ALL_ONES, at if isinstance(at, int) else HEADER.offset(at))

    need(len(data) >= HEADER.size, "PROGRAM_LENGTH", "length", "no room for the header")
    header, faults = HEADER.decode(data), dict(HEADER.faults(data))
    need(0 not in faults, "PROGRAM_MAGIC", 0, "no program")
    need(not faults.keys() & {4, 6}, "PROGRAM_VERSION", 4, "not version 1.0")
    need(header["length"] == len(data), "PROGRAM_LENGTH", "length", f"{len(data)} bytes were given")
    crc = crc32c(data[:12] + bytes(4) + data[16:])
    need(header["checksum"] == crc, "PROGRAM_CHECKSUM", "checksum", f"CRC-32C is {crc:#x}")
    for offset, why in faults.items():
        need(False, "RESERVED_NOT_ZERO", offset, why)
    need(header["flags"] != EMIT_MASK, "BAD_ORDER", "flags", "EMIT_MASK without KEEP")
    for name in sorted(header.keys() & LIMITS.keys(), key=HEADER.offset):
        need(header[name] < LIMITS[name].stop, "LIMIT_EXCEEDED", name, f"more {name} than the format allows")
    sections = program_sections(header)
    need(sections["word"].stop == len(data), "PROGRAM_LENGTH", "length", "not what the counts add up to")
    declared = {}
    for thing in THINGS:
        declared[thing] = []
        for at in sections[thing]:
            kind, flags = TYPES.get(data[at]), data[at + 1]
            need(not DECLARATION.faults(data[at:]) and flags <= (thing in ("column", "output")), "RESERVED_NOT_ZERO",
                 at, f"declaration of a {thing}")
            need(kind and (thing, kind) != ("set", "mask"), "BAD_DECLARATION", at, f"no type of a {thing}")
            declared[thing].append((kind, flags))
    padding = sections["output"].stop
    need(not any(data[padding : sections["constant"].start]), "RESERVED_NOT_ZERO", padding, "padding")
    written, done, words = {}, [], [WORD.decode(data[at:]) for at in sections["word"]]
    for index, (at, word) in enumerate(zip(sections["word"], words)):
        try:
            check_word(word, WORD.faults(data[at:]), header, declared, written, done, lacks)
        except Fault as fault:
            raise Fault(f"word {index}: {fault.args[0]}", fault.status, index, at) from None
    for flag, name in (KEEP, "KEEP"), (EMIT_MASK, "EMIT_MASK"):
        need(not header["flags"] & flag or name in done, "INCOMPLETE", "flags", f"no word {name}")
    for output, at in enumerate(sections["output"]):
        need(output in done, "INCOMPLETE", at, f"output {output} is not stored")
    return Program(header, declared, words)


def load_faults(data, card):
    try:
        load(data, card.lacks)
    except Fault as fault:
        yield fault


def check_word(word, reserved, header, declared, written, done, lacks):
    """The checks a to m. Notes in `written` the type of each register, in `done` KEEP, EMIT_MASK and outputs stored."""
    def need(good, status, why):
        if not good:
            raise Fault(why, status)

    operation = OPERATIONS.get(word["operation"])
    need(operation, "UNKNOWN_OPERATION", f"{word['operation']}")
    name, operand, result = operation.name, TYPES.get(word["operand_type"]), TYPES.get(word["result_type"])
    need(not reserved, "RESERVED_NOT_ZERO", "byte 9")
    for field, unused in UNUSED.items():
        need(field in operation.uses or word[field] == unused, "RESERVED_NOT_ZERO", f"{name} has no {field}")
    variants = ADMITTED.get((name, operand, result))
    need(variants, "BAD_TYPE", f"{name} from {operand} to {result}")
    need(word["variant"] < variants, "BAD_VARIANT", f"{word['variant']}")
    thing, index = operation.uses.get("index", "code"), word["index"]
    if thing != "code":
        need(index < header[thing + "s"], "BAD_INDEX", f"{thing} {index}")
    if operation.typed:
        kind = declared[thing][index][0]
        need(kind == {"operand": operand, "result": result}[operation.typed], "BAD_TYPE", f"{thing} {index} is {kind}")
    if operation.uses.get("immediate") == "digits":
        digits = -word["immediate"] if word["variant"] else word["immediate"]
        need((name != "DIGITS") <= digits <= 38, "BAD_IMMEDIATE", f"{word['immediate']} digits")
    need(name not in lacks, "UNSUPPORTED", name)
    need(name != "KEEP" or not header["outputs"] or "COMPACTION" not in lacks, "UNSUPPORTED", "KEEP and outputs")
    counts = {"v": header["v_registers"], "m": header["m_registers"]}
    named = registers(operation, operand, result, word)
    for letter, number, kind in named["dst" in operation.uses :]:
        need(number < counts[letter], "BAD_REGISTER", f"{letter}{number}")
        need((letter, number) in written, "UNDEFINED_REGISTER", f"{letter}{number}")
        need(written[letter, number] == kind, "REGISTER_TYPE", f"{letter}{number} is {written[letter, number]}")
    if name == "STORE":
        need(index not in done and ("KEEP" in done or not header["flags"] & KEEP), "BAD_ORDER", f"output {index}")
        need((word["src_b"] != 255) == declared["output"][index][1], "BAD_ORDER", "validity, or none")
        done.append(index)
    elif name in ("KEEP", "EMIT_MASK"):
        need(header["flags"] & (KEEP if name == "KEEP" else EMIT_MASK), "BAD_ORDER", f"no flag {name}")
        need(name not in done and (name == "KEEP" or "KEEP" in done), "BAD_ORDER", f"{name} twice, or before KEEP")
        done.append(name)
    for letter, number, kind in named[: "dst" in operation.uses]:
        need(number < counts[letter], "BAD_REGISTER", f"{letter}{number}")
        written[letter, number] = kind


def registers(operation, operand, result, word):
    """(letter, number, type) of the registers that a word names, the one it writes first. Section 9, "Words"."""
    kinds = {"dst": result, "src_a": operand, "src_b": operand, "src_c": operand}
    masks, name = {"SELECT": "src_a", "STORE": "src_b", "CAST_FAILS": "dst"}, operation.name
    kinds |= {masks[name]: "mask"} if name in masks else {}
    return [("m" if kind == "mask" else "v", word[field], kind) for field, kind in kinds.items()
            if field in operation.uses and (name, field, word[field]) != ("STORE", "src_b", 255)]


def admitted():
    """Section 10: each (operation, operand type, result type) that makes a word, and the number of its variants."""
    signed, unsigned, floats = ["i8", "i16", "i32", "i64", "i128"], ["u8", "u16", "u32", "u64"], ["f32", "f64"]
    integers = signed + unsigned
    numbers, every = integers + floats, integers + floats + ["mask"]
    indexes = [kind for kind in integers if kind != "i128"]
    same = {"LOAD PARAM CONST SELECT STORE": every, "ADD SUB MUL DIV REM": numbers, "NEG ABS": signed + floats,
            "ROUND": floats, "FLOORDIV": integers, "RESCALE": ["i128"],
            "VALIDITY AND OR ANDNOT XOR NOT TRAP KEEP EMIT_MASK": ["mask"]}
    to_mask = {"OVERFLOW_ADD OVERFLOW_SUB OVERFLOW_MUL OVERFLOW_DIV RANGE": integers, "CMP_EQ CMP_NE": every,
               "CMP_LT CMP_LE CMP_GT CMP_GE IN_SET": numbers, "RESCALE_FAILS": ["i128"], "IN_BOUNDS": indexes}
    words = [(name, kind, kind) for names, kinds in same.items() for name in names.split() for kind in kinds]
    words += [(name, kind, "mask") for names, kinds in to_mask.items() for name in names.split() for kind in kinds]
    words += [("CAST_WRAP", a, b) for a in integers + ["mask"] for b in numbers if a != b]
    words += [("CAST_WRAP", "f32", "f64"), ("CAST_WRAP", "f64", "f32"), ("DIGITS", "f64", "i128")]
    words += [("CAST_SATURATE", a, b) for a in floats for b in integers]
    words += [("CAST_FAILS", a, b) for a in numbers for b in integers if a != b]
    words += [("LOOKUP", a, b) for a in indexes for b in every]
    return {(name, *types): 4 if name == "RESCALE" else 3 if name.startswith("CMP_") and types[0] in floats else 1
            for name, *types in words}


def program_sections(header):
    """The offsets of the declarations of each thing, of the constants and of the words."""
    sections, end = {}, HEADER.size
    for name, layout in PARTS.items():
        start = -(-end // 16) * 16 if name == "constant" else end
        end = start + header[name + "s"] * layout.size
        sections[name] = range(start, end, layout.size)
    return sections


def bytecode_parts(fields, _):
    yield "", HEADER, 0
    for name, offsets in program_sections(fields).items():
        for index, at in enumerate(offsets):
            yield f"{name}.{index}", PARTS[name], at


def crc32c(data):
    """Section 1. Reflected, so the polynomial is too, and bits leave at the low end."""
    crc = ALL_ONES
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ ALL_ONES


# Section 7: jobs.


def descriptor_parts(fields, _):
    yield "", DESCRIPTOR, 0
    at = DESCRIPTOR.size
    for index in range(fields["steps"]):
        prefix = f"step.{index}"
        yield prefix, STEP, at
        if not (layout := STEPS.get(STEP_KINDS.get(fields[f"{prefix}.kind"]))):
            return
        yield prefix, layout, at
        arguments = range(fields.get(f"{prefix}.arguments", 0))
        for number, place in zip(arguments, itertools.count(at + layout.size, OPERAND.size)):
            name = f"{prefix}.argument.{number}"
            yield name, OPERAND_KIND, place
            yield name, SCALAR if OPERAND_KINDS.get(fields[f"{name}.kind"]) == "SCALAR" else OPERAND, place
        at += layout.size + len(arguments) * OPERAND.size


def job_faults(data, card):
    """All faults of the header, else all of the first step that has any, else that the steps are not as long as said: a
    card reports one of them. The alignment is the least, 16, and the write slack 0."""
    def fault(why, at="length", status="BAD_DESCRIPTOR"):
        return Fault(why, status, ALL_ONES, at if isinstance(at, int) else DESCRIPTOR.offset(at))

    header = DESCRIPTOR.decode(data)
    faults = [fault(why, offset) for offset, why in DESCRIPTOR.faults(data)]
    faults += [fault(f"{len(data)} bytes were given")] * (header["length"] != len(data))
    faults += [fault("too many", "steps", "JOB_LIMIT")] * (header["steps"] >= LIMITS["steps"].stop)
    lacking = header["report_iova"] and "REPORT" in card.lacks
    faults += [fault("no reports", "report_iova", "UNSUPPORTED_FEATURE")] * bool(lacking)
    at, index = DESCRIPTOR.size, 0
    while not faults and index < header["steps"] and at < len(data):
        faults = list(step_faults(data[at:], at, index, card))
        at, index = at + STEP.decode(data[at:])["length"], index + 1
    return faults or [fault("not the sum of the steps")] * (at != len(data) or index != header["steps"])


def step_faults(data, at, index, card):
    def fault(status, offset, why):
        return Fault(f"step {index}: {why}", status, index, at + offset)

    if not (kind := STEP_KINDS.get(data[0])):
        yield fault("BAD_STEP", 0, "of an unknown kind")
        return
    layout, step = STEPS[kind], STEPS[kind].decode(data)
    size = layout.size + step.get("arguments", 0) * OPERAND.size
    if step["length"] != size or size > len(data):
        yield fault("BAD_STEP", STEP.offset("length"), f"{step['length']} for {size} bytes, of {len(data)}")
        return
    if kind == "COPY_COUNTED" and "COUNTED_COPY" in card.lacks:
        yield fault("UNSUPPORTED_FEATURE", 0, kind)
    offsets = {name.removesuffix(".iova"): layout.offset(name) for name in step if name.endswith(".iova")}
    offsets |= {f"argument {i}": layout.size + i * OPERAND.size for i in range(step.get("arguments", 0))}
    values = {name: OPERAND.decode(data[offset:]) for name, offset in offsets.items()}
    inside = {offset + byte for offset in offsets.values() for byte in range(OPERAND.size)}
    yield from (fault("BAD_STEP", offset, why) for offset, why in layout.faults(data) if offset not in inside)
    for name, value in values.items():
        kinds = OPERAND_KINDS.values() if kind == "RUN" else ["MEMORY"] if name == "count" else ["MEMORY", "LIST"]
        broken = [why for _, why in operand_faults(data[offsets[name] :])]
        broken += ["a kind not for this step"] * (OPERAND_KINDS.get(value["kind"]) not in kinds)
        broken += ["bit offset"] * (kind != "RUN" and value["bit_offset"] > 0)
        broken += ["unequal lengths"] * (name == "to" and value["length"] != values.get("from", value)["length"])
        broken += ["not 8 bytes"] * (name == "count" and value["length"] != 8)
        yield from (fault("BAD_OPERAND", offsets[name], f"{name}: {why}") for why in broken)
        yield from (fault("BAD_SEGMENTS", offsets[name], f"{name}: {why}") for _, why in list_faults(value, card))
    if kind == "RUN":
        yield from run_faults(step, list(values.values()), card, index, fault)


def run_faults(step, values, card, index, fault):
    """Section 7, "Arguments of RUN" and "Alignment". Without programs the arguments are not looked at."""
    program = (card.programs or {}).get(step["program"])
    wanted = list(arguments(program)) if program else None
    rules = {"rows": ("JOB_LIMIT", step["rows"] >= LIMITS["rows"].stop),
             "program": ("UNKNOWN_PROGRAM", card.programs is not None and not program),
             "arguments": ("BAD_ARGUMENTS", program and len(wanted) != len(values)),
             "checksums_iova": ("UNSUPPORTED_FEATURE", step["checksums_iova"] and "CHECKSUM" in card.lacks)}
    yield from (fault(status, RUN.offset(name), name) for name, (status, broken) in rules.items() if broken)
    if not program or len(wanted) != len(values):
        return
    for number, ((what, kind, kinds), value) in enumerate(zip(wanted, values)):
        given, offset, length = OPERAND_KINDS.get(value["kind"]), value["bit_offset"], value["length"]
        if what in ("table", "set"):
            short = length % entry_size(kind)
        else:
            short = given in ("MEMORY", "LIST") and length < buffer_size(kind, step["rows"], offset)
        if given not in kinds or short or offset and (what, kind) != ("column", "mask"):
            yield Fault(f"argument {number}, a {what}: kind, length or bit offset", "BAD_ARGUMENT", index, number)
        parts, alignment = ranges(value, card), LIMITS["operand_alignment"].start
        if any(iova % alignment for iova, _ in parts) or any(length % alignment for _, length in parts[:-1]):
            yield Fault(f"argument {number}, a {what}: alignment", "MISALIGNED", index, number)


def arguments(program):
    """(what, type, kinds of operand) of each argument."""
    memory = ["MEMORY", "LIST"]
    for kind, nullable in program.declared["column"]:
        yield from [("column", kind, memory), ("column", "mask", memory * nullable + ["ABSENT"])]
    for thing, kinds in ("parameter", ["SCALAR"]), ("table", memory), ("set", memory):
        yield from ((thing, kind, kinds) for kind, _ in program.declared[thing])
    if program.header["flags"] & EMIT_MASK:
        yield "output", "mask", memory
    for kind, valid in program.declared["output"]:
        yield from [("output", kind, memory), ("output", "mask", memory if valid else ["ABSENT"])]


def entry_size(kind):
    return max(BITS[kind], 8) // 8


def buffer_size(kind, rows, bit_offset=0):
    return (rows * BITS[kind] + bit_offset + 7) // 8


# Sections 5 and 6: operands and commands.


def operand_faults(data):
    """(offset, why) of what is wrong with an operand by itself."""
    value = OPERAND.decode(data)
    kind, length = OPERAND_KINDS.get(value["kind"]), value["length"]
    span = {"LIST": 16 * value["segments"], "MEMORY": length}.get(kind, 0)
    broken = {"kind": not kind, "bit_offset": value["bit_offset"] > (7 if kind in ("MEMORY", "LIST") else 0),
              "iova": value["iova"] % 16 if kind == "LIST" else kind == "ABSENT" and value["iova"],
              "length": length == 0 if kind == "LIST" else kind == "ABSENT" and length,
              "segments": (kind == "LIST") != (value["segments"] > 0)}
    broken["iova"] = broken["iova"] or span and value["iova"] + span > 2**64
    return OPERAND.faults(data) + [(OPERAND.offset(name), f"{name} of {kind}") for name in broken if broken[name]]


def ranges(value, card):
    """(IOVA, length) of the ranges of an operand, as far as they are known."""
    kind, entries = OPERAND_KINDS.get(value["kind"]), card.lists.get(value["iova"], b"")
    if kind == "MEMORY":
        return [(value["iova"], value["length"])] * (value["length"] > 0)
    places = range(0, len(entries) if kind == "LIST" else 0, SEGMENT.size)
    return [tuple(SEGMENT.decode(entries[at:]).values()) for at in places]


def list_faults(value, card):
    """(segment, why) of what is wrong with the segment list of an operand."""
    total, parts = 0, ranges(value, card) if OPERAND_KINDS.get(value["kind"]) == "LIST" else []
    for number, (iova, length) in enumerate(parts):
        before, total = total, total + length
        if not length or iova + length > 2**64 or before <= value["length"] < total:
            yield number, f"segment {number}"
    if parts and total < value["length"]:
        yield len(parts) - 1, "shorter than the operand"


class Command(NamedTuple):
    name: str
    queue: int  # 0 of the admin queue, 1 of the others
    kinds: tuple  # of its operand
    layout: "Layout"


def read_commands():
    for queue, section in (0, "## 6."), (1, "## 7."):
        for code, name, operand, _ in DOCUMENT.table(section, "command"):
            own = []
            if name not in ("IDENTIFY", "LOAD_PROGRAM", "JOB", "NOP"):
                own = Layout.read("### " + name.replace("GET_FEATURES", "SET_FEATURES")).fields[1:]
            if name == "GET_FEATURES":
                own = [field for field in own if field.name != "value"]
            start = min([field.bit for field in own], default=64 * 8)
            common = [field for field in ENTRY.fields if field.bit + field.width <= start]
            kinds = next(((kind,) for kind in ("ABSENT", "MEMORY") if operand.startswith(kind)), ("MEMORY", "LIST"))
            yield int(code.strip("`"), 16), Command(name, queue, kinds, Layout(common + own, 64))


def sqe_parts(fields, _):
    yield "", OPCODE, 0
    yield "", COMMANDS[fields["opcode"]].layout if fields["opcode"] in COMMANDS else ENTRY, 0


def sqe_faults(data, card):
    """All faults of an entry, of which a card reports one. Where the queue is known, pair 1 is there and no program."""
    if len(data) != 64:
        yield Fault("an entry has 64 bytes")
        return
    command = COMMANDS.get(data[0])
    if not command or card.queue == 1 - command.queue or command.name in card.lacks:
        yield Fault("no such command", "INVALID_OPCODE")
        return
    name, layout = command.name, command.layout
    fields, faults = layout.decode(data), dict(layout.faults(data))
    if "operand.iova" in fields:
        at = layout.offset("operand.iova")
        operand = OPERAND.decode(data[at:])
        iova, length = operand["iova"], operand["length"]
        faults |= {at + offset: why for offset, why in operand_faults(data[at:])}
        broken = {"bit_offset": operand["bit_offset"],
                  "length": {"IDENTIFY": length != 4096, "GET_LOG": length % 8 or not length,
                             "JOB": length % 8 or length < 32}.get(name),
                  "iova": name == "JOB" and iova % 64}
        if OPERAND_KINDS.get(operand["kind"]) not in command.kinds:
            broken, faults = {"kind": True}, {}
        faults |= {at + OPERAND.offset(field): f"{field} of {name}" for field, bad in broken.items() if bad}
        yield from (Fault(why, "BAD_LIST", segment) for segment, why in list_faults(operand, card))
    if name == "SET_FEATURES" and fields["value"] >= 2**32:
        faults[layout.offset("value")] = "bits 63:32"
    yield from (Fault(why, "INVALID_FIELD", offset) for offset, why in sorted(faults.items()))
    feature, queue, known = fields.get("feature", 2), fields.get("queue"), card.queue is not None
    states = {"UNKNOWN_FEATURE": feature not in SETTABLE or SETTABLE[feature] in card.lacks,
              "UNKNOWN_LOG": fields.get("page", 1) not in (1, 2, 3),
              "QUEUE_EXISTS": known and (name, queue) == ("CREATE_QUEUE_PAIR", 1),
              "NO_SUCH_QUEUE": known and name == "DELETE_QUEUE_PAIR" and queue > 1,
              "UNKNOWN_PROGRAM": known and name == "DROP_PROGRAM"}
    yield from (Fault(name, status) for status, broken in states.items() if broken)


# What a card writes, and lists.


def card_faults(parts):
    def faults(data, _):
        fields, end = {}, 0
        for prefix, layout, at in parts(fields, len(data)):
            fields |= layout.decode(data[at:], prefix)
            end = max(end, at + layout.size)
            yield from (Fault(f"offset {at + offset}: {why}") for offset, why in layout.faults(data[at:]))
        if end != len(data):
            yield Fault(f"{len(data)} bytes, not {end}")
    return faults


def single(layout):
    return lambda fields, size: [("", layout, 0)]


def array(name, layout, header=None):
    def parts(fields, size):
        start = header.size if header else 0
        yield from [("", header, 0)] * bool(header)
        for index, at in enumerate(range(start, size - layout.size + 1, layout.size)):
            yield f"{name}.{index}", layout, at
    return parts


# Structures, by the tables of the document.


class Structure(NamedTuple):
    parts: Callable  # (fields, size) -> prefix of names, layout and offset of each part; fields grow from part to part
    faults: Callable  # (bytes, what is known of the card) -> each Fault


def decode(structure, data):
    fields = {}
    for prefix, layout, at in structure.parts(fields, len(data)):
        if at + layout.size > len(data):
            break
        fields |= layout.decode(data[at:], prefix)
    return fields


def encode(structure, fields, size):
    data = bytearray(size)
    for prefix, layout, at in structure.parts(fields, size):
        data[at : at + layout.size] = layout.encode(fields, prefix)
    return bytes(data)


class Field(NamedTuple):
    name: str  # empty where vectors have none: reserved, magic numbers, the whole of a constant
    bit: int
    width: int
    form: str = "unsigned"  # or signed, text
    only: int | None = None  # the one legal value
    legal: Callable = lambda value: True


class Layout:
    """A structure as one little-endian number of which the fields are runs of bits; what no field covers is 0."""

    def __init__(self, fields, size=None):
        self.fields, end = [], 0
        for field in [*sorted(fields, key=lambda field: field.bit), Field("", size * 8 if size else 0, 0)]:
            if field.width and field.bit < end:
                raise ValueError(f"CARD.md: {field} overlaps the field before")
            if field.bit > end:
                self.fields.append(Field("", end, field.bit - end, only=0))
            self.fields += [field] * (field.width > 0)
            end = max(end, field.bit + field.width)
        self.size = end // 8

    @classmethod
    def read(cls, anchor, column="field", **only):
        """From a table `offset | width | field | note` or `bits | field | note`. A row whose width is no number of
        bytes stands for other structures, or for zeros up to an end that the text gives."""
        fields = []
        for where, *width, title, note in DOCUMENT.table(anchor, column):
            high, _, low = where.rpartition(":")
            bit, bits, form, name = int(low), int(high or low) - int(low) + 1, "unsigned", named(title)
            value = only.get(name, literal(note))
            if width:
                found = re.fullmatch(r"([ui])(\d+)|(\d+) bytes|operand", width[0])
                if not found or name == "command_specific":
                    continue
                bit, bits = bit * 8, int(found[2] or int(found[3] or 24) * 8)
                form = "signed" if found[1] == "i" else "text" if found[3] and value is None else "unsigned"
            if width and "operand" in (title, width[0]):
                fields += [part._replace(name=join(part.name and name, part.name), bit=bit + part.bit)
                           for part in OPERAND.fields]
            elif name in ("reserved", "magic", "signature"):
                fields.append(Field("", bit, bits, only=value or 0))
            else:
                fields.append(Field(name, bit, bits, form, value, legal(note)))
        return cls(fields)

    def offset(self, name):
        return next(field.bit // 8 for field in self.fields if field.name == name)

    def values(self, data):
        number = int.from_bytes(data[: self.size], "little")
        for field in self.fields:
            value = number >> field.bit & (1 << field.width) - 1
            if field.form == "text":
                value = value.to_bytes(field.width // 8, "little").rstrip(b"\0").decode("ascii", "backslashreplace")
            elif field.form == "signed":
                value -= value >> field.width - 1 << field.width
            yield field, value

    def decode(self, data, prefix=""):
        return {join(prefix, field.name): value for field, value in self.values(data)
                if field.name or field.only is None}

    def encode(self, fields, prefix=""):
        number = 0
        for field in self.fields:
            bits = fields[join(prefix, field.name)] if field.name or field.only is None else field.only
            if field.form == "text":
                bits = int.from_bytes(bits.encode("ascii"), "little")
            elif field.form == "signed":
                bits += (bits < 0) << field.width
            if not 0 <= bits < 1 << field.width:
                raise ValueError(f"{join(prefix, field.name)}: more than {field.width} bits")
            number |= bits << field.bit
        return number.to_bytes(self.size, "little")

    def faults(self, data):
        """(offset, why) of each field whose value is not legal, by offset."""
        return [(field.bit // 8, f"{field.name or 'reserved or magic'} is {value!r}")
                for field, value in self.values(data) if field.only not in (None, value) or not field.legal(value)]


def join(*names):
    return ".".join(filter(None, names))


def named(text):
    """The vectors' name of what the tables call so: section 17."""
    return re.sub(r"\W+", "_", text.lower())


def literal(note):
    """The value, where a note consists of one: 8, `0x09`, `0x4A4C4E55`, bytes `UNLJ`."""
    if note == "reserved":
        return 0
    if found := re.fullmatch(r"(\d+)|`0x([0-9A-F]+)`(?:, bytes.*)?", note):
        return int(found[1] or found[2], 10 if found[1] else 16)
    if found := re.match(r"`((?:[0-9A-F]{2} )+[0-9A-F]{2})`", note):
        return int.from_bytes(bytes.fromhex(found[1]), "little")
    return None


def legal(note):
    """A check for what the note allows: "a power of two, 2 to MQES", "a multiple of 8, not 0", "bit 0: interrupts
    enabled; others reserved". Limits that are a card's are not known here."""
    span, multiple = re.search(r"([\d,]+) to ([\d,]*)", note), re.search(r"a multiple of ([\d,]+)", note)
    least = number(span[1]) if span else 1 if re.search("not 0|at least 1", note) else -(2**128)
    most = number(span[2]) if span and span[2] else 2**128
    if "others reserved" in note:
        most = 2 ** (1 + max(map(int, re.findall(r"bit (\d+)", note)))) - 1
    step, power = number(multiple[1]) if multiple else 1, "a power of two" in note

    def check(value):
        if isinstance(value, str):
            return "\0" not in value
        return least <= value <= most and value % step == 0 and (not power or value.bit_count() == 1)

    return check


def number(text):
    """A number as the document writes it: 65,534 or 2^32 - 1."""
    found = re.match(r"(?:2\^(\d+)|([\d,]+))(?: - (\d))?", text)
    return (2 ** int(found[1]) if found[1] else int(found[2].replace(",", ""))) - int(found[3] or 0)


class Document:
    def __init__(self, path):
        self.text = path.read_text(encoding="utf-8")

    def table(self, anchor, column):
        """The rows of the first table with that column behind the line that begins with the anchor; the next heading
        ends the search."""
        lines = self.text[self.text.index("\n" + anchor) + 1 :].splitlines()[1:]
        end = next((number for number, line in enumerate(lines) if line.startswith("#")), len(lines))
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] if line[:1] == "|" else [] for line in lines[:end]]
        start = next((number for number, row in enumerate(cells) if column in row and not cells[number - 1]), end)
        rows = list(itertools.takewhile(bool, cells[start + 2 :]))
        if not rows:
            raise LookupError(f"CARD.md has no table with {column!r} behind {anchor!r}")
        return rows

    def kinds(self, anchor):
        """Numbers and names of the row `kind` of a table of fields."""
        note = next(row[-1] for row in self.table(anchor, "field") if row[2] == "kind")
        return {int(number): name for number, name in re.findall(r"(\d) ([A-Z_]+)", note)}


def read_limits():
    """Section 13: from what every card has at least to what the format can express."""
    for names, least, most in DOCUMENT.table("## 13.", "limit"):
        least, _, top = least.partition(" to ")
        for name in names.split(", "):
            yield named(name), range(number(least), number(most or top or "2^64 - 1") + 1)


class Operation(NamedTuple):
    name: str
    uses: dict  # of the fields in UNUSED, with what the table says of them
    typed: str | None  # the type of the word that is also the thing's


def read_operations():
    """The table of section 9, "Words"; where it says "20 ADD ... 25 FLOORDIV", section 10 has the names between."""
    section = DOCUMENT.text[DOCUMENT.text.index("\n## 10.") : DOCUMENT.text.index("\n## 11.")]
    found = re.findall(r"(?:^\| |\*\*)(\d+)(?: \| | )([A-Z_]+)\b", section, re.M)
    names = {int(number): name for number, name in found}
    for operations, operand, result, *cells in DOCUMENT.table("### Words", "operations"):
        some = {int(number, 0): name for number, name in re.findall(r"(0x\d+|\d+)`? ([A-Z_]+)", operations)}
        if "..." in operations:
            some |= {number: names[number] for number in range(min(some), max(some) + 1)}
        cells = dict(zip(UNUSED, cells))
        types = {"operand": operand, "result": result}
        typed = next((side for side in types if f"the {cells['index']}'s" in types[side]), None)
        for code, name in some.items():
            yield code, Operation(name, {field: cells[field] for field in UNUSED if cells[field]}, typed)


KEEP, EMIT_MASK = 1, 2  # flags of the header
UNUSED = {"dst": 255, "src_a": 255, "src_b": 255, "src_c": 255, "index": 0, "immediate": 0}
THINGS = ("column", "parameter", "table", "set", "output")

DOCUMENT = Document(pathlib.Path(__file__).resolve().parent.parent / "CARD.md")
LIMITS = dict(read_limits())
TYPES = {int(number): name for number, name, *_ in DOCUMENT.table("### Types", "number")}
BITS = {name: int(bits) for _, name, bits, _ in DOCUMENT.table("### Types", "number")}
STATUS = {name: int(code.strip("`"), 16) for code, name, *_ in DOCUMENT.table("## 12.", "code") if name}
FEATURES = {bit: name for bit, name, _ in DOCUMENT.table("FEAT:", "feature")}
SETTABLE = {int(feature.split()[0]): FEATURES.get(needs.removeprefix("FEAT bit "))
            for feature, needs, *_ in DOCUMENT.table("### SET_FEATURES", "feature")}
OPERATIONS, ADMITTED = dict(read_operations()), admitted()
TRAP = next(number for number, operation in OPERATIONS.items() if operation.name == "TRAP")

# The notes on the fields of an operand depend on its kind; operand_faults has them.
OPERAND = Layout([field._replace(legal=lambda value: True) for field in Layout.read("### Operands").fields])
OPERAND_KIND = Layout([Field("kind", OPERAND.offset("kind") * 8, 8)], OPERAND.size)
SCALAR = Layout([Field("value", 0, 128), *OPERAND_KIND.fields[1:]], OPERAND.size)
SEGMENT = Layout.read("A **segment list**")
OPERAND_KINDS, STEP_KINDS = DOCUMENT.kinds("### Operands"), DOCUMENT.kinds("Each step begins")
ENTRY, OPCODE = Layout.read("### Submission entry"), Layout([Field("opcode", 0, 8)])
COMMANDS = dict(read_commands())
*CQE, ENDED = Layout.read("### Completion entry").fields
CQE = Layout(CQE + [field._replace(bit=ENDED.bit + field.bit) for field in Layout.read("**Status and phase**").fields])
DESCRIPTOR, STEP = Layout.read("### Descriptor"), Layout.read("Each step begins")
STEPS = {name: Layout(STEP.fields + Layout.read(f"**{name}**").fields[1:]) for name in STEP_KINDS.values()}
RUN = STEPS["RUN"]
HEADER, WORD, DECLARATION = Layout.read("### Header"), Layout.read("### Words"), Layout.read("### Declarations")
PARTS = dict.fromkeys(THINGS, DECLARATION) | {"constant": Layout([Field("", 0, 128)]), "word": WORD}
IDENTIFY = Layout.read("### IDENTIFY")
IDENTIFY = Layout([field._replace(legal=lambda value, field=field: field.legal(value) and value in LIMITS[field.name])
                   if field.name in LIMITS else field for field in IDENTIFY.fields])
LIST = "**Page `0x02`"
CARD = {
    "cqe": single(CQE),
    "segments": array("segment", SEGMENT),
    "result": single(Layout.read("### Result block")),
    "checksums": array("checksum", Layout([Field("", 0, 32)])),
    "identify": single(IDENTIFY),
    "capabilities": array("entry", Layout.read(LIST, "field of an entry"), Layout.read(LIST)),
    "errors": array("entry", Layout.read("**Page `0x03`", "field of an entry"),
                    Layout.read(LIST, bytes_of_an_entry=32)),
    "health": single(Layout.read("**Page `0x01`")),
    "report": single(Layout.read("### Report")),
    "signature": single(Layout.read("Signature capability")),
} | {name: single(Layout.read(f"**{name.upper()}**")) for name in ("version", "cap", "cc", "csts", "aqa")}
KINDS = {name: Structure(parts, card_faults(parts)) for name, parts in CARD.items()}
KINDS |= {"sqe": Structure(sqe_parts, sqe_faults), "bytecode": Structure(bytecode_parts, load_faults),
          "descriptor": Structure(descriptor_parts, job_faults)}
if __name__ == "__main__":
    sys.exit(main())
