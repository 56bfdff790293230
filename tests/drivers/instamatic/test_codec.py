"""What Instamatic's servers write is read whole or not at all, and nothing that came over the network is ever run."""

import os
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.instamatic.codec import CODECS, Codec, PickleCodec, StagePosition, Unfinished

# The answer to getStagePosition as instamatic 2.2.2 pickles it (Python 3.11).
RECORDED = bytes.fromhex(
    "8004955b000000000000004bc88c1b696e7374616d617469632e6d6963726f73636f70652e7574696c73948c125374616765"
    "506f736974696f6e5475706c65949394284aed7dffff4d38454b8447c03c00000000000047c0350000000000007494819486"
    "942e"
)
REPLIES = [
    [200, None],
    [200, True],
    [200, -21.5e-7],
    [200, [-33299, 17720, 132, -28.0, -21.0]],
    [200, "mag1"],
    [200, {"shape": [516, 516], "dtype": "uint16", "name": "psm_12ab34cd"}],
    [500, ["TEMValueError", ['Unrecognized function mode: "bögus" \\ ]\n']]],
    [500, ["KeyError", []]],
]


@pytest.fixture(params=sorted(CODECS))
def codec(request: pytest.FixtureRequest) -> Codec:
    made: Codec = CODECS[request.param]()
    return made


def encoded(codec: Codec, reply: Any) -> bytes:
    return codec.encode(reply) if codec.name != "pickle" else pickle.dumps(reply, protocol=4)


@pytest.mark.parametrize("reply", REPLIES, ids=str)
def test_an_answer_is_read_when_its_last_byte_has_come_and_not_before(codec: Codec, reply: list[Any]) -> None:
    data = encoded(codec, reply)
    for length in range(1, len(data)):
        with pytest.raises(Unfinished):
            codec.decode(data[:length])
    assert codec.decode(data) == (reply, len(data))


def test_what_follows_an_answer_is_left_where_it_is(codec: Codec) -> None:
    one, two = encoded(codec, [200, "one"]), encoded(codec, [200, "two"])
    assert codec.decode(one + two) == ([200, "one"], len(one))


def test_a_stage_position_in_a_pickle_needs_no_instamatic() -> None:
    assert "instamatic" not in sys.modules
    (status, where), length = PickleCodec().decode(RECORDED)
    assert (status, length) == (200, len(RECORDED))
    assert where == StagePosition(-33299, 17720, 132, -28.0, -21.0)
    assert type(where) is StagePosition
    assert "instamatic" not in sys.modules


class Exploit:
    """Runs a command when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"echo gotcha > {self.victim}",)


class Sneaky:
    """Changes itself when it is unpickled."""

    def __setstate__(self, state: Path) -> None:
        state.touch()

    def __getstate__(self) -> Path:
        return Path("never")


def running(protocol: int, victim: Path) -> bytes:
    return pickle.dumps((200, Exploit(victim)), protocol)


def short_text(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


EXPLOITS: dict[str, Callable[[Path], bytes]] = {
    **{f"an object that runs a command, protocol {protocol}": partial(running, protocol) for protocol in range(6)},
    "an object of a class of ours": lambda victim: pickle.dumps((200, Sneaky())),
    "a function by its name": lambda victim: b"\x80\x02cos\nsystem\n.",
    "a function by names on the stack": lambda victim: b"\x80\x04" + short_text("os") + short_text("system") + b"\x93.",
    "a module that acts when it is imported": (
        lambda victim: b"\x80\x04" + short_text("antigravity") + short_text("x") + b"\x93."
    ),
    "something inside an admitted type": (
        lambda victim: (
            b"\x80\x04"
            + short_text("instamatic.microscope.utils")
            + short_text("StagePositionTuple.__init__")
            + b"\x93."
        )
    ),
    "an admitted type that is called": (
        lambda victim: b"\x80\x02cinstamatic.microscope.utils\nStagePositionTuple\n(I1\nI2\nI3\nI4\nI5\ntR."
    ),
    "an admitted type that is given attributes": (
        lambda victim: b"\x80\x02cinstamatic.microscope.utils\nStagePositionTuple\n)\x81}b."
    ),
    "an instance by its class's name": lambda victim: b"\x80\x02(ios\nsystem\n.",
    "a persistent object": lambda victim: b"\x80\x02Psomething\n.",
    "an extension": lambda victim: b"\x80\x02\x82\x01.",
    "a memo of two thousand million places": lambda victim: b"\x80\x02Nr\xff\xff\xff\x7f.",
    "another list of bytes as buffer": lambda victim: b"\x80\x05\x97.",
}


@pytest.mark.parametrize("make", EXPLOITS.values(), ids=EXPLOITS)
def test_a_pickle_that_holds_more_than_values_is_refused_and_nothing_runs(
    tmp_path: Path, make: Callable[[Path], bytes]
) -> None:
    victim = tmp_path / "victim"
    with pytest.raises(ValueError, match=r"not admitted|not a pickle"):
        PickleCodec().decode(make(victim))
    assert not victim.exists()
    assert "antigravity" not in sys.modules


def test_the_exploit_of_these_tests_works_where_it_is_let(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    pickle.loads(EXPLOITS["an object that runs a command, protocol 4"](victim))
    assert victim.exists()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_its_beginning_or_refused(data: bytes) -> None:
    for name in CODECS:
        for head in (b"", b"[", b"\x92", b"\x80\x04"):
            _read(CODECS[name](), head + data)


@given(st.integers(0, len(RECORDED) - 1), st.integers(0, 255))
def test_a_damaged_pickle_is_another_value_or_unfinished_or_refused(at: int, byte: int) -> None:
    _read(PickleCodec(), RECORDED[:at] + bytes([byte]) + RECORDED[at + 1 :])


def _read(codec: Codec, data: bytes) -> None:
    try:
        _, length = codec.decode(data)
    except (Unfinished, ValueError):
        return
    assert 0 < length <= len(data)


def test_a_deep_nest_is_refused(codec: Codec) -> None:
    nest = {"json": b"[" * 50_000, "msgpack": b"\x92" * 50_000, "pickle": b"\x80\x04" + b")" + b"\x85" * 50_000 + b"."}
    _read(codec, nest[codec.name])
