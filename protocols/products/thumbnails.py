"""Small grey pictures for the report: frames and snapshots made smaller, as JPEG files in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.products.pictures import run_correction
from protocols.products.source import RunSource, SnapshotInfo

FRAME_PX, SNAPSHOT_PX, OVERVIEW_PX = 260, 180, 64
"""The longer side of a thumbnail, and of the pictures by which the lit part of the camera is found."""
LIT_MARGIN = 0.25
"""Room around the lit part, in its own lengths: a crystal may be at its border, and a beam may wander."""
SNAPSHOTS_SHOWN = 120
"""Of more, evenly chosen ones."""
FRAMES_SHOWN = 6
BRIGHTER = 1.25
"""White, against the brightest of the overview: its pixels are means, those of a thumbnail hardly so."""
QUALITY = 85

Item = TypeVar("Item")
Part = tuple[float, float, float, float]
WHOLE: Part = (0.0, 1.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One of them. jpeg: None where the picture could not be read. start_ns: on the run's clock, where it is known."""

    slot: int
    start_ns: int | None
    start_deg: float | None
    jpeg: bytes | None


def snapshot_thumbnails(source: RunSource) -> list[Thumbnail]:
    """The run's snapshots in order: the lit part of the camera, the same part and the same black and white for all, so
    that a crystal that moves and a beam that fades are seen.
    """
    chosen = _evenly(source.info.snapshots, SNAPSHOTS_SHOWN)
    overview = [_resized(picture, OVERVIEW_PX) for picture in _snapshots(source, chosen)]
    seen = [picture for picture in overview if picture is not None]
    part = lit_part(seen)
    black = float(np.median([np.percentile(picture, 0.5) for picture in seen])) if seen else 0.0
    white = BRIGHTER * float(np.median([np.percentile(picture, 99.5) for picture in seen])) if seen else 1.0
    made = []
    for shot, picture in zip(chosen, _snapshots(source, chosen), strict=True):
        small = _resized(picture, SNAPSHOT_PX, part)
        jpeg = None if small is None else _jpeg(small, black, white)
        made.append(Thumbnail(shot.slot, shot.start_ns, shot.start_deg, jpeg))
    return made


def frame_thumbnails(source: RunSource) -> list[Thumbnail]:
    """Some frames from the first to the last, corrected: square root of the counts, dark on white."""
    info, correct = source.info, run_correction(source)
    found = []
    for index in _evenly(range(len(info.slot)), FRAMES_SHOWN):
        counts, _ = correct.apply(source.raw(index))
        root = np.sqrt(counts.astype(np.float32))
        small = _resized(root, FRAME_PX)
        high = max(1.0, float(np.percentile(root, 99.5)))
        jpeg = None if small is None else _jpeg(small, high, 0.0)
        start_ns, start_deg = int(info.frame_start_ns[index]), float(info.frame_start_deg[index])
        found.append(Thumbnail(int(info.slot[index]), start_ns, start_deg, jpeg))
    return found


def _snapshots(source: RunSource, chosen: Sequence[SnapshotInfo]) -> Iterator[NDArray[np.generic] | None]:
    """Their pictures, corrected as frames are where they have the same shape; None for one that cannot be read."""
    correct = run_correction(source)
    for shot in chosen:
        try:
            raw = source.snapshot(shot.slot)
        except DataError:
            yield None
            continue
        yield correct.apply(raw)[0] if raw.shape == source.info.raw_shape else raw


def lit_part(pictures: Sequence[NDArray[np.float32]]) -> Part:
    """The part of the camera that is lit in any of these pictures, with some room around it; all where there is no
    border. In shares of rows and columns: first and last row, first and last column.
    """
    same = [picture for picture in pictures if picture.shape == pictures[0].shape]
    if not same:
        return WHOLE
    brightest = np.max(same, axis=0)
    dark, light = np.percentile(brightest, 5), np.percentile(brightest, 99.5)
    lit = brightest > dark + (light - dark) / 4
    edges: list[float] = []
    for axis in (1, 0):
        found = np.flatnonzero(lit.any(axis=axis))
        if not len(found):
            return WHOLE
        n = lit.shape[1 - axis]
        room = max(2.0, LIT_MARGIN * (found[-1] + 1 - found[0]))
        edges += [max(0.0, (found[0] - room) / n), min(1.0, (found[-1] + 1 + room) / n)]
    return edges[0], edges[1], edges[2], edges[3]


def _resized(picture: NDArray[np.generic] | None, longest_px: int, part: Part = WHOLE) -> NDArray[np.float32] | None:
    """A part of a picture, its longer side so long: means of pixels where it becomes smaller."""
    from PIL import Image

    if picture is None or picture.size == 0:
        return None
    rows, columns = picture.shape
    box = part[2] * columns, part[0] * rows, part[3] * columns, part[1] * rows
    width, height = box[2] - box[0], box[3] - box[1]
    share = longest_px / max(width, height)
    size = max(1, round(width * share)), max(1, round(height * share))
    numbers = np.nan_to_num(picture.astype(np.float32))
    return np.asarray(Image.fromarray(numbers).resize(size, Image.Resampling.BOX, box=box), np.float32)


def _jpeg(picture: NDArray[np.float32], black: float, white: float) -> bytes:
    """black, white: the values that become so; black may be the larger one."""
    from PIL import Image

    span = white - black if white != black else 1.0
    grey = np.clip(np.rint((picture - black) / span * 255), 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, evenly chosen, first and last included."""
    if len(items) <= most:
        return list(items)
    return [items[int(k)] for k in np.linspace(0, len(items) - 1, most)]
