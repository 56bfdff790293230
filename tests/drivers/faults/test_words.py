"""Faults as words: what is written is what is read, and what is none is refused in one line."""

import pytest

from drivers.faultwords import Fault
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.drivers.faults.bench import bench
from tests.engine.virtually import virtual

WORDS = [
    "beam.blank 1 hang",
    "stage.angle 3 slow 0.4",
    "stage.angle 3 error",
    "stage.angle 3 wrong -2.5",
    "beam.blank 1 ignored",
    "optics.set_focus 2 away 1.5",
    "stagexyz.move_xy 1 error",
    "deflectors.set 1 ignored",
    "mode.mode 2 wrong 1",
    "illumination.brightness 1 wrong -20",
    "detector.frames 4 drop",
    "detector.frames 4 double",
    "detector.frames 4 torn",
    "detector.frames 4 late 0.8",
    "detector.frames 4 type",
    "detector.frames 4 dark",
    "detector.frames 4 saturated",
    "detector.frames 4 same",
    "detector.start 4 shutter 0.3",
    "detector.start 4 slow 0.3",
    "mode.changed 3.2 imaging",
    "mode.changed 0 low-mag",
    "mode.changed expose+1 diffraction",
    "compute.score 2 late",
    "compute.score 1 dead",
    "compute.score 3 never",
    "stage.motion 3.5 jump -0.4",
    "stage.motion 3.5 stop",
    "stage.motion 3.5 reverse",
    "stage.motion 3.5 slip 0.5",
    "host 2 starve 0.3",
    "host 2 leap 5",
    "disk.write 40 full",
    "disk.write 40 error",
    "disk.write 40 slow 2",
    "disk.sync 12 slow 3",
    "disk.sync 12 error",
    "stage.angle finalize+2 hang",
    "optics.set_focus defocus-snapshot+1 away 1.5",
    "detector.frames expose+4 late 0.8",
    "stage.motion expose+3.5 slip 0.5",
    "host finalize+0.1 leap 5",
]


@pytest.mark.parametrize("words", WORDS)
def test_a_fault_is_written_as_it_is_read(words: str) -> None:
    assert str(Fault.parse(words)) == words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "'' is not known"),
        ("nonsense", "'nonsense' is not known; use DEVICE.METHOD"),
        ("detector.frame 20 drop", "away, lost. Did you mean detector.frames?"),
        ("beam 1 error", "'beam' is not known"),
        ("beam. 1 error", "'beam.' is not known"),
        ("gun.angle 1 error", "'gun.angle' is not known"),
        ("beam.blank 1 explode", "'explode' is not known; use slow, hang"),
        ("beam.blank one hang", "write beam.blank WHEN hang"),
        ("beam.blank -1 hang", "write beam.blank WHEN hang"),
        ("beam.blank nan hang", "write beam.blank WHEN hang"),
        ("beam.blank 1 hang 5", "write beam.blank WHEN hang"),
        ("beam.blank 1 slow", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow soon", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow inf", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow 1 2", "write beam.blank WHEN slow VALUE"),
        ("beam.blank", "is not known"),
        ("beam.blank +1 hang", "WHEN also as STATE+NUMBER"),
        ("beam.blank expose+ hang", "WHEN also as STATE+NUMBER"),
        ("disk.write expose+1 full", "write disk.write WHEN full, with plain numbers."),
        ("compute.score expose+1 late", "write compute.score WHEN late, with plain numbers."),
        ("stage.angle 1 ignored", "so it cannot be ignored"),
        ("detector.start 1 ignored", "so it cannot be ignored"),
        ("stagexyz.is_moving 1 ignored", "so it cannot be ignored"),
        ("deflectors.read 1 ignored", "so it cannot be ignored"),
        ("mode.magnification 1 ignored", "so it cannot be ignored"),
        ("illumination.spot_size 1 ignored", "so it cannot be ignored"),
        ("detector.frames 1 slow 1", "'slow' is not known; use drop, double, torn, late, type, dark, saturated, same"),
        ("detector.start 1 shutter", "write detector.start WHEN shutter VALUE"),
        ("detector.start 1 shutter -0.1", "write detector.start WHEN shutter VALUE"),
        ("detector.arm 1 shutter 0.1", "'shutter' is not known"),
        ("mode.changed 1 stem", "'stem' is not known; use low-mag, imaging, diffraction"),
        ("stage.motion 1 hang", "'hang' is not known; use stop, reverse, jump, slip"),
        ("host 1 hang", "'hang' is not known; use starve, leap"),
        ("disk.write 1 hang", "'hang' is not known; use full, error, slow"),
        ("disk.sync 1 full", "'full' is not known; use error, slow"),
    ],
)
def test_words_that_are_no_fault_are_refused_in_one_line(words: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        Fault.parse(words)
    assert says in str(caught.value)
    assert str(caught.value).endswith("Nothing was started.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "stage.fly 1 error",
        "detector.facts 1 error",
        "optics.blank 1 hang",
        "stagexyz.rotate 1 hang",
        "mode.set 1 error",
    ],
)
@virtual
async def test_a_call_that_a_device_does_not_have_is_refused(clock: VirtualClock, words: str) -> None:
    with pytest.raises(Refused, match="has no such call"):
        async with bench(clock, words):
            pass
