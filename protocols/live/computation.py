"""A rotation searched while it goes on, as two computations of a run (`engine.run.compute`), each in its own worker.

`search` finds the spots of some new frames; what it found is kept with the run as bytes. `look_at` builds on the bytes
of all so far and reads no picture. Both are pure functions of what they are given, so an outcome can be computed again;
what a worker remembers (the mask of a camera, frames that are joined already) only saves work, and a new worker does it
anew. `protocols.cred.livelook` asks for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from engine.clock import NS_PER_S
from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.computeworker import Earlier
from protocols.lattice.rotationfit import BEGIN_NOISE, FREE, RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.batch import Batch, unpacked
from protocols.live.framevalues import FrameSearch
from protocols.live.growing import Growing
from protocols.live.look import Setting
from protocols.products.corrections import Correction, correction, untrusted
from protocols.spots.beam_centre import even_level, filter_px, find_beam

KEPT_OF_TOLD = (
    "deg", "frames", "reflections", "determined", "reasons", "cell", "cell_sigma", "bravais", "indexed", "lattices",
    "second", "resolution_A", "completeness", "completeness_after", "mosaicity", "damage", "phases", "rings_A", "ice",
    "geometry", "primitive", "primitive_sigma", "camera_length_sigma", "orientation", "shadowed_deg", "in_shadow_deg",
    "absent_deg",
)  # fmt: skip
"""What a trace holds of a look; the rest is in the look that `credline live` gives of the folder."""


Pictures = Callable[[int], Picture]


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """How frames of a camera are corrected and searched. response: its flatfield. searches: by beam and geometry."""

    camera: tuple[Any, ...]
    response: Picture | None
    apply: Correction
    made_up: NDArray[np.bool_]
    searches: dict[tuple[tuple[float, float] | None, Geometry], FrameSearch] = field(default_factory=dict)

    def search(self, beam_px: tuple[float, float] | None, told: Geometry) -> FrameSearch:
        """A new one takes 10 ms."""
        key = beam_px, told
        if key not in self.searches:
            self.searches.clear()
            shape = self.made_up.shape[0], self.made_up.shape[1]
            centre_px = beam_px or (told.beam_fast_px, told.beam_slow_px)
            self.searches[key] = FrameSearch(shape, self.made_up, centre_px, RotationGeometry.of(told))
        return self.searches[key]


_prepared: list[_Prepared] = []
"""For the frames before: the next ones are of the same camera."""


def _prepare(shape: tuple[int, int], response: Picture | None, wide_cross: bool, saturation: int) -> _Prepared:
    camera = shape, wide_cross, saturation
    before = _prepared.pop() if _prepared else None
    if before is None or before.camera != camera or not _same(before.response, response):
        as_float = None if response is None else np.asarray(response, dtype=np.float32)
        apply = correction(as_float, wide_cross, saturation)
        before = _Prepared(camera, response, apply, untrusted(shape, wide_cross, apply.dead))
    _prepared.append(before)
    return before


def _same(one: Picture | None, other: Picture | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f")


def search(arguments: JsonObject, picture: Pictures) -> tuple[JsonDict, bytes]:
    """What some frames tell by themselves (`protocols.live.framevalues`), and their spots as bytes (`Batch`).

    arguments: `frames`, each as [index in the spool, slot, start_ns, end_ns]; `flatfield`, its index or None;
    `geometry`, as `drivers.facts.Geometry`; `wide_cross`; `saturation`, in counts, or None; `beam_px`, where the
    primary beam was seen, or None; `look_for_beam`: whether it is to be looked for in these frames.
    """
    rows: Any = arguments["frames"]
    raw = [picture(int(row[0])) for row in rows]
    flatfield, wide_cross = arguments["flatfield"], bool(arguments["wide_cross"])
    saturation = int(arguments["saturation"] or 0)
    shape = raw[0].shape[0], raw[0].shape[1]
    prepared = _prepare(shape, None if flatfield is None else picture(flatfield), wide_cross, saturation)
    counts = [prepared.apply.apply(each)[0] for each in raw]
    seen = []
    if arguments["look_for_beam"]:
        level = even_level(saturation or 65535, wide_cross)
        seen = [find_beam(each, filter_px(each.shape[:2]), level) for each in counts]
    beam_px = None if arguments["beam_px"] is None else (arguments["beam_px"][0], arguments["beam_px"][1])
    search_in = prepared.search(beam_px, Geometry(**arguments["geometry"]))
    found = [search_in(each) for each in counts]
    profile = found[0].profile
    for each in found[1:]:
        profile += each.profile
    slot, start_ns, end_ns = (np.array([row[k] for row in rows], dtype=np.int64) for k in (1, 2, 3))
    light = np.array([each.values.light for each in found], dtype=np.int64)
    batch = Batch([each.spots for each in found], slot, start_ns, end_ns, light, profile, counts[0].shape)
    values = [{"slot": row[1]} | asdict(each.values) for row, each in zip(rows, found, strict=True)]
    return {"frames": values, "beam_px": [each for each in seen if each is not None]}, batch.packed()


@dataclass(slots=True)
class _Joined:
    """The frames of some batches, joined. rate_deg_s: of the plan, by which gaps between frames are judged."""

    rate_deg_s: float
    growing: Growing = field(default_factory=Growing)
    digests: list[str] = field(default_factory=list)
    times_ns: list[NDArray[np.int64]] = field(default_factory=list)
    shape: tuple[int, int] = (0, 0)

    def add(self, batch: Batch, digest: str) -> None:
        """The next batch."""
        frames = zip(batch.spots, batch.slot, batch.light, batch.start_ns, batch.end_ns, strict=True)
        for spots, slot, light, *times_ns in frames:
            start_deg, end_deg = (self.rate_deg_s * int(at_ns) / NS_PER_S for at_ns in times_ns)
            self.growing.add(spots, int(slot), start_deg, end_deg, float(light))
        self.growing.add_profile(batch.profile)
        self.times_ns.append(np.stack([batch.start_ns, batch.end_ns]))
        self.shape = batch.shape
        self.digests.append(digest)


_joined: list[_Joined] = []
"""What was joined for the look before: the next one goes on from there, if it begins with the same."""


def _join(earlier: Sequence[Earlier], rate_deg_s: float) -> _Joined:
    digests = [each.sha256 for each in earlier]
    before = _joined.pop() if _joined else None
    fits = before is not None and before.rate_deg_s == rate_deg_s and digests[: len(before.digests)] == before.digests
    joined = before if before is not None and fits else _Joined(rate_deg_s)
    for each in earlier[len(joined.digests) :]:
        joined.add(unpacked(each.read()), each.sha256)
    _joined.append(joined)
    return joined


def look_at(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """What the frames so far tell; see `protocols.live.look`. earlier: what was found in them.

    arguments: `stage`, the line of the stage's angle as [deg, at this instant in ns, deg/s]; `rate_deg_s`, of the plan;
    `geometry`, as `drivers.facts.Geometry`; `beam_px`, where the primary beam was seen, or None; `fit`, which the look
    before returned, or None. `fit` in what is returned: the lattice and the geometry from which the next one goes on.
    """
    joined = _join(earlier, float(arguments["rate_deg_s"]))
    at_deg, at_ns, rate_deg_s = arguments["stage"]
    start_deg, end_deg = at_deg + rate_deg_s * (np.concatenate(joined.times_ns, axis=1) - at_ns) / NS_PER_S
    told = Geometry(**arguments["geometry"])
    beam_px = arguments["beam_px"] or (told.beam_fast_px, told.beam_slow_px)
    geometry = replace(
        RotationGeometry.of(told), beam_fast_px=beam_px[0], beam_slow_px=beam_px[1], out_of_plane_deg=0.0
    )
    setting = Setting(geometry, joined.shape, float(np.median(np.abs(end_deg - start_deg))))
    look = joined.growing.look(setting, _begun(arguments["fit"]), (start_deg, end_deg))
    kept = {name: look.told[name] for name in KEPT_OF_TOLD if name in look.told}
    fit = look.fit
    return kept | {"fit": None if fit is None else {"ub": fit.ub, "geometry": asdict(fit.geometry)}}


def _begun(told: Any) -> RotationFit | None:
    """The fit of the look before, as far as the next one needs it: where to begin."""
    if told is None:
        return None
    return RotationFit(
        geometry=RotationGeometry(**told["geometry"]),
        ub=np.array(told["ub"]),
        hkl=np.empty((0, 3), dtype=np.int64),
        used=np.empty(0, dtype=np.bool_),
        pulls=np.empty((0, 3)),
        covariance=np.zeros((len(FREE), len(FREE))),
        ub_covariance=np.zeros((9, 9)),
        position_rms_px=0.0,
        angle_rms_deg=0.0,
        noise=BEGIN_NOISE,
        size_sigma=0.0,
    )


def _warm() -> None:
    """Load what is loaded only when it is needed: a worker that has loaded this is warm for its first frame."""
    nothing = np.zeros((64, 64), np.uint16)
    geometry = Geometry(0.025, 250.0, 0.055, 0.0, 32.0, 32.0)
    arguments = {
        "frames": [[0, 0, 0, 1]], "flatfield": None, "geometry": asdict(geometry), "wide_cross": False,
        "saturation": None, "beam_px": None, "look_for_beam": True,
    }  # fmt: skip
    search(arguments, lambda _: nothing)


_warm()
