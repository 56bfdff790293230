"""Damaged inputs from whole ones: bytes and lines flipped, lost, doubled and spliced, values swapped for odd ones.

Every function takes its randomness from the `Random` it is given, so an input is made again from its seed.
"""

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\n",
    b"\r\n",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"=",
    b",",
    b"\xed\xa0\x80",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**62,
    2**63 - 1,
    -(2**63) + 1,
    2**63,
    10**30,
    10**400,
    0.0,
    -0.0,
    0.5,
    1e-300,
    5e-324,
    1e18,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0",
    "a.b.c",
    ".",
    "../..",
    "\0",
    "\ud800",
    "\x1b[2J",
    "é\u202e",
    "x" * 5000,
    "$x_{",
    "$\\frac{",
    "[/b] [bold",
    [],
    [[]],
    [None],
    [1, 2],
    [0, 0],
    [1e308, -1e308],
    [2**62, 2**62],
    {},
    {"": None},
    {"value": None},
)
ODD_WORDS = (
    "nan inf -inf 1e400 -1e400 1_0 0x7fffffffffffffffffff 9223372036854775808 1979-05-27T07:32:00Z 07:32:00 1979-05-27 "
    'true false null {} [] [[]] \'\' "" "\\u0000" "\\uD800" 1e-320 -0.0 0 1 -1 {a={b=1}} [1,2,3,4,5] 1e308 1000000000'
).split()
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*")
DEEP = 3000
INPUT_LIMIT_BYTES = 500_000


def noise(random: Random, limit: int = 400) -> bytes:
    """Bytes that mean nothing: of any value, or printable ones."""
    letters = bytes(range(256)) if random.random() < 0.5 else bytes(range(32, 127)) + b"\n\n\t"
    return bytes(random.choices(letters, k=random.randrange(limit)))


def bytes_changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change of bytes anywhere: flipped, lost, put in, doubled, cut off, taken from another input."""
    if not content:
        return noise(random)
    at = random.randrange(len(content))
    length = min(len(content) - at, 1 << random.randrange(10))
    match random.randrange(8):
        case 0:
            return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]
        case 1:
            return content[:at] + content[at + length :]
        case 2:
            return content[:at] + random.choice(ODD_BYTES) * random.choice((1, 1, 1, 2, 50)) + content[at:]
        case 3:
            return content[:at] + content[at : at + length] * random.choice((2, 2, 3, 20)) + content[at + length :]
        case 4:
            return content[:at]
        case 5:
            other = random.choice(others)
            begin = random.randrange(len(other) + 1)
            return content[:at] + other[begin : begin + length] + content[at + length :]
        case 6:
            return content[:at] + random.randbytes(length) + content[at + length :]
        case _:
            return content[:at] + bytes(length) + content[at + length :]


def lines_changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change of lines: lost, doubled, moved, taken from another input, joined, many times over."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return noise(random)
    at, to = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            del lines[at : at + random.choice((1, 1, 3, 20))]
        case 1:
            lines.insert(to, lines[at])
        case 2:
            lines[at], lines[to] = lines[to], lines[at]
        case 3:
            foreign = random.choice(others).splitlines(keepends=True)
            lines.insert(at, random.choice(foreign) if foreign else b"\n")
        case 4:
            lines[at] = lines[at].rstrip(b"\r\n")
        case _:
            lines[at:at] = [lines[to]] * random.choice((5, 100))
    return b"".join(lines)


def words_changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One number or word of a text swapped for an odd one, or for one from elsewhere in it."""
    pattern = NUMBER if random.random() < 0.7 else WORD
    found = list(pattern.finditer(content))
    if not found:
        return bytes_changed(random, content, others)
    place = random.choice(found)
    match random.randrange(4):
        case 0:
            word = random.choice(found)[0]
        case 1:
            word = b"[" * DEEP + b"]" * random.choice((0, DEEP))
        case 2:
            digits = random.choice((3, 10, 19, 20, 60, 400, 5000))
            word = bytes(random.choices(b"0123456789", k=digits))
        case _:
            word = random.choice(ODD_WORDS).encode()
    return content[: place.start()] + word + content[place.end() :]


def value_changed(random: Random, document: Any) -> Any:
    """A JSON document with one value, at any depth, replaced, removed, moved or scaled. The document is changed."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(document, dict | list):
        return deepcopy(random.choice(ODD_VALUES))
    walk(document)
    if not places:
        return deepcopy(random.choice(ODD_VALUES))
    node, key = random.choice(places)
    old = node[key]
    choice = random.random()
    if choice < 0.5:
        node[key] = deepcopy(random.choice(ODD_VALUES))
    elif choice < 0.65:
        del node[key]
    elif choice < 0.8:
        other, name = random.choice(places)
        node[key] = deepcopy(other[name])  # not the same object: a document must not hold itself
    elif isinstance(old, bool) or not isinstance(old, int | float):
        node[key] = deepcopy(random.choice(ODD_VALUES))
    else:
        node[key] = random.choice((-old, old + 1, old - 1, old * 2, old * 1000, old // 1000, old / 3))
    return document


def records_changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change of a file of JSON lines: of a value, of the order, of what is there; numbered again."""
    try:
        records = [json.loads(line) for line in content.splitlines()]
    except (ValueError, RecursionError):
        return lines_changed(random, content, others)
    if not records:
        return lines_changed(random, content, others)
    at, to = random.randrange(len(records)), random.randrange(len(records))
    match random.randrange(8):
        case 0:
            del records[at]
        case 1:
            records.insert(to, records[at])
        case 2:
            records[at], records[to] = records[to], records[at]
        case 3:
            del records[at:]
        case _:  # the header bears half of what is read by name
            at = 0 if random.random() < 0.3 else at
            records[at] = value_changed(random, records[at])
    if random.random() < 0.9:
        for seq, record in enumerate(records):
            if isinstance(record, dict):
                record["seq"] = seq
    return as_lines(records)


def json_changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change of a value of a JSON file."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return words_changed(random, content, others)
    return as_lines([value_changed(random, document)])


def as_lines(records: Sequence[Any]) -> bytes:
    """JSON lines, also of integers that Python prints only when asked."""
    try:
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)
    except (ValueError, RecursionError):
        return b""


Change = Callable[[Random, bytes, Sequence[bytes]], bytes]
ANY: tuple[Change, ...] = (bytes_changed, lines_changed, words_changed)


def mutated(random: Random, seeds: Sequence[bytes], changes: Sequence[Change]) -> bytes:
    """One input: a whole one with a few changes, now and then nothing but noise."""
    if random.random() < 0.04:
        return noise(random)
    content = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 6))):
        content = random.choice(changes)(random, content, seeds)[:INPUT_LIMIT_BYTES]
    return content
