"""A picture of the best frames with their scores, to look through: what `credline screening predict` draws."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.products.atomic import make_folder, replacing
from protocols.screening.patternfile import scales_of
from protocols.screening.preprocessing import INPUT_PX, input_of
from protocols.screening.scoredfiles import frame_of, scale_of
from protocols.screening.scoring import Score
from protocols.zones.patterns.snapshots import open_snapshots

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, ROWS = 8, 6
MARGIN_PX, WORDS_PX = 6, 30
GOOD, BAD, BACK, WORDS = (40, 140, 60), (190, 60, 50), (255, 255, 255), (0, 0, 0)


def contact_sheet(path: Path, best: Sequence[tuple[str, Score]], sources: Sequence[Path], per_px: float | None) -> None:
    """Draw the first COLUMNS x ROWS as PNG, each as networks see it, the root of its numbers, dark on white.

    best: name and score, the best first. A green frame is good, a red one bad.
    """
    shown = best[: COLUMNS * ROWS]
    pictures = _pictures([name for name, _ in shown], sources, per_px)
    drawn = sheet([(name, score, pictures[name]) for name, score in shown])
    make_folder(path.parent)
    with replacing(path) as part:
        drawn.save(part, "PNG")


def sheet(shown: Sequence[tuple[str, Score, NDArray[np.floating[Any]]]]) -> "Image.Image":
    """The sheet itself: name, score and picture of each as networks take it (`input_of`), in rows of COLUMNS."""
    from PIL import Image, ImageDraw

    rows = max(1, -(-len(shown) // COLUMNS))
    wide, high = INPUT_PX + 2 * MARGIN_PX, INPUT_PX + MARGIN_PX + WORDS_PX
    drawn = Image.new("RGB", (COLUMNS * wide, rows * high), BACK)
    draw = ImageDraw.Draw(drawn)
    for number, (name, score, picture) in enumerate(shown):
        left, top = number % COLUMNS * wide + MARGIN_PX, number // COLUMNS * high + MARGIN_PX
        colour = GOOD if score.good > 0.5 else BAD
        draw.rectangle((left - 2, top - 2, left + INPUT_PX + 1, top + INPUT_PX + 1), fill=colour)
        grey = 255 - np.rint(255 * np.sqrt(picture)).astype(np.uint8)
        drawn.paste(Image.fromarray(grey).convert("RGB"), (left, top))
        d_min = "" if score.d_min_A is None else f"  {score.d_min_A:.2f} A"
        several = f"  several {score.several:.2f}" if score.several > 0.5 else ""
        draw.text((left, top + INPUT_PX + 2), f"{score.good:.3f}{d_min}{several}", fill=WORDS)
        draw.text((left, top + INPUT_PX + 13), Path(name).name[-24:], fill=WORDS)
    return drawn


def _pictures(
    names: Sequence[str], sources: Sequence[Path], per_px: float | None
) -> dict[str, NDArray[np.floating[Any]]]:
    wanted = set(names)
    found: dict[str, NDArray[np.floating[Any]]] = {}
    for path, source in zip(sources, open_snapshots(sources, per_px), strict=True):
        scales = None if per_px else scales_of(path)
        for number, name in enumerate(source.names):
            if name in wanted:
                try:
                    frame = frame_of(path, number)
                except DataError:
                    found[name] = np.zeros((INPUT_PX, INPUT_PX))
                    continue
                scale = scale_of(source.per_px, frame) if scales is None else float(scales[number])
                found[name] = input_of(frame[None], scale)[0]
    return found
