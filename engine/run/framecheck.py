"""What a picture is like: empty, light, saturated. Pure functions, called in a worker (`engine.run.computeworker`).

Nothing here knows what a picture should show; a protocol says of each kind of frame whether light is expected, and may
bring words of its own (`engine.record.framekinds.FrameKind`). `engine.run.framewatch` asks, and judges.
"""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import numpy as np

from engine.record.jsonobject import JsonDict, JsonObject

if TYPE_CHECKING:
    from engine.frame import Picture

SAMPLES = 65_536
"""Level and noise are taken from about so many pixels: of a large picture not from all."""
STANDS_OUT = 6.0
"""A pixel stands out that lies so many times the noise off the level of the picture, and two counts at least."""
LIT_SHARE = 0.002
"""Of a camera whose dark level is known: with so many pixels above it, it sees something. False counts and pixels that
always count are fewer."""
LIT_GROUPS = 4
"""So many groups of 2 x 2 pixels that all stand out are light: bad pixels and bad columns make none."""


def check(arguments: JsonObject, picture: "Callable[[int], Picture]") -> JsonDict:
    """What one picture is like.

    arguments: `index` of the picture; `saturation`, the largest count it can have, and `dark_counts`, what a pixel
    counts without light, None where nobody knows; `words`, a `module:function` of the protocol's for a picture that is
    light, or empty; `measure`, if there is more to measure, the protocol's `function` and its `arguments`. Returns
    `light`, `noisy` (half of the pixels differ from the median), `level` (the median), `saturated` (share of the
    pixels), `words`: what the protocol says of it, or empty, and then `measured`. A picture of 512 x 512 takes 3 ms.
    """
    counts = picture(arguments["index"])
    dark_counts, saturation, words = (arguments[name] for name in ("dark_counts", "saturation", "words"))
    step = max(1, int((counts.size / SAMPLES) ** 0.5))
    some = np.nan_to_num(counts[::step, ::step].astype(np.float64))
    level = float(np.median(some))
    noise = 1.4826 * float(np.median(np.abs(some - level)))
    light = is_light(counts, level, noise, dark_counts)
    said = resolve_name(words)(counts) if words and light else ""
    measure = arguments.get("measure")
    measured = {} if measure is None else {"measured": resolve_name(measure["function"])(counts, measure["arguments"])}
    return {
        "light": light,
        "noisy": noise > 0,
        "level": level,
        "saturated": 0.0 if saturation is None else float(np.mean(counts >= saturation)),
        "words": said,
        **measured,
    }


def is_light(counts: "Picture", level: float, noise: float, dark_counts: float | None) -> bool:
    """Whether a picture shows anything. level: the median of its pixels. noise: their standard deviation, robust.

    Where the dark level is known, enough pixels above it are light, structure or none. Else only what stands out is:
    an even picture may be the offset of a camera.
    """
    if dark_counts is not None and float(np.mean(counts > dark_counts)) >= LIT_SHARE:
        return True
    off = max(STANDS_OUT * noise, 2.0)
    out = (counts > level + off) | (counts < level - off)
    groups = out[:-1, :-1] & out[1:, :-1] & out[:-1, 1:] & out[1:, 1:]
    return int(np.count_nonzero(groups)) >= LIT_GROUPS
