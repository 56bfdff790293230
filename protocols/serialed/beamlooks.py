"""Looks at the probe in the image, and at the primary beam in the patterns: where the beam is, and whether it wanders.

At the beginning a few looks over the field tell where the probe lies for a setting of the beam shift, however wrong the
calibration is by then. Later one look at a time tells how far it has wandered; the next comes the sooner the farther.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from drivers.facts import DetectorFacts
from drivers.parts import Deflector, DeflectorFacts
from engine.errors import DeviceError
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.run import Run
from protocols.serialed.aim import Aim, Pair, corrected
from protocols.serialed.finding.crystals import FoundCrystal
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.probeseen import told as probe_told
from protocols.serialed.records import BEAM_NOTE
from protocols.serialed.scale import FieldScale

SPREAD = 0.28
"""The first looks lie this share of the picture's side from its middle, and one in the middle."""
ASIDE, STEPS = 0.25, (0.0, -1.0, -0.5, 0.5, 1.0)
"""They may lie aside by so much of that, where a crystal is in the way."""
FEW = 3
"""So many of the first looks at least tell where the beam is."""
MOST_BLIND = 3
"""So many fields in which the probe is not seen: nobody knows where it is."""
FIRST_INTERVAL = 5
"""Fields to the second look; where the beam is calm the next ones come after twice as many each."""
WANDERS_NM = 40.0
"""Farther than this from one look to the next, and the next comes after half as many fields."""
CALM_NM = 12.0
OFF_SHARE, OFF_SIZE = 0.02, 0.3
PATTERN_PX = 12.0
"""The primary beam of patterns that jumps farther than this says that the beam has moved."""
REMEMBERED = 15


class BeamLooks:
    """What is known of the beam. aim: set at the beginning of a run, then corrected by each look."""

    aim: Aim

    def __init__(self, run: Run, plan: SerialedPlan, scale: FieldScale, camera: DetectorFacts) -> None:
        self._run, self._plan, self._scale, self._camera = run, plan, scale, camera
        self.is_known = not plan.probe_looks
        """Whether the probe was seen where `aim` says."""
        self._blind = 0
        self._interval = min(FIRST_INTERVAL, plan.beam_check_fields)
        self._since = 0
        self._patterns: list[Pair] = []
        self._is_doubtful = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for a look, in a field that has crystals."""
        if not self._plan.probe_looks:
            return False
        return not self.is_known or self._is_doubtful or (0 < self._interval <= self._since)

    @property
    def count(self) -> int:
        """How many looks the next one is."""
        return 1 if self.is_known else 5

    def field_over(self) -> None:
        """A field more since the last look."""
        self._since += 1

    def settings(self, crystals: Sequence[FoundCrystal], coils: DeflectorFacts) -> Iterator[Pair]:
        """The settings of the beam shift to look at, in an order in which they rise as far as can be: where no crystal
        lies in the way. One look is made where the image is clearest.
        """
        places = [(0.0, 0.0)] if self.is_known else [(-1.0, -1.0), (-1.0, 1.0), (0.0, 0.0), (1.0, -1.0), (1.0, 1.0)]
        for place in places:
            around = 1.0 if self.is_known else ASIDE
            tried = [(place[0] + around * a, place[1] + around * b) for a in STEPS for b in STEPS]
            px = max(map(self._px, tried), key=lambda at: _free_px(at, crystals))
            x, y = self.aim.units_for(px)
            units = (float(round(x)), float(round(y))) if coils.whole_numbers else (x, y)
            if not coils.outside(Deflector.BEAM_SHIFT, *units):
                yield units

    def _px(self, place: Pair) -> Pair:
        rows, columns = self._scale.shape
        middle = self._scale.middle_px
        return middle[0] + SPREAD * place[0] * columns, middle[1] + SPREAD * place[1] * rows

    def told(self, index: int, *, of_pattern: bool = False) -> JsonDict:
        """The arguments of `PROBE` for a frame."""
        saturation = self._camera.saturation_of(self._plan.pattern_exposure_s)
        return probe_told(index, of_pattern=of_pattern, wide_cross=self._camera.wide_cross, saturation=saturation)

    def judged(self, looks: Sequence[tuple[Pair, JsonObject]], field: int) -> Iterator[str]:
        """Take note of looks: settings, and what `PROBE` says of each. What the operator should know, one line each.

        Raises DeviceError where the probe was not seen in the first fields: without it no crystal can be aimed at.
        """
        seen = [(units, (float(told["at"][0]), float(told["at"][1]))) for units, told in looks if told["at"]]
        self._since, self._is_doubtful = 0, False
        if len(seen) < (1 if self.is_known else FEW):
            self._blind += 1
            if not self.is_known and self._blind >= MOST_BLIND:
                raise DeviceError(
                    f"beam: the probe was not seen in the image of {self._blind} fields, so no crystal can be aimed "
                    "at; no pattern was taken. Look at the frames of kind beam: probe_brightness should make a disc "
                    "of some 400 nm in the middle of the image."
                )
            self._is_doubtful = True
            yield "the probe was not seen in the image where it should be; it is looked for in the next field again"
            return
        found = corrected(self.aim, seen)
        first, self.is_known, self._blind = not self.is_known, True, 0
        self.aim = found.aim
        nm = self._scale.nm_per_px
        moved_nm = math.hypot(*found.moved_px) * nm
        probe_nm = 2 * nm * median(float(told["radius"]) for _, told in looks if told["at"])
        off = None if found.off_share is None else round(100 * found.off_share, 2)
        self._run.trace.record(
            "note",
            BEAM_NOTE,
            field=field,
            looks=len(seen),
            moved_nm=round(moved_nm, 1),
            off_percent=off,
            left_nm=round(found.left_px * nm, 1),
            probe_nm=round(probe_nm, 1),
            aim=[round(value, 6) for value in (*self.aim.at_px, *self.aim.at_units, *self.aim.matrix)],
        )
        if first:
            if found.off_share is not None and found.off_share > OFF_SHARE:
                yield (
                    f"the calibration of the beam shift is off by {100 * found.off_share:.1f} %; this run works by "
                    "what it has measured. Make it again: credline calibrate beam-shift"
                )
            if abs(probe_nm / self._plan.probe_nm - 1) > OFF_SIZE:
                yield (
                    f"the probe has {probe_nm:.0f} nm and not the {self._plan.probe_nm:.0f} nm of the plan: set "
                    "probe_brightness"
                )
        elif self._interval:
            if moved_nm > WANDERS_NM:
                self._interval = max(1, self._interval // 2)
                if self._interval == 1:
                    yield f"the beam wanders by {moved_nm:.0f} nm from one field to the next"
            elif moved_nm < CALM_NM:
                self._interval = min(self._plan.beam_check_fields, self._interval * 2)

    def pattern_at(self, at: Sequence[float] | None) -> str:
        """Where the primary beam of a pattern is, None where it was not found; what the operator should know of it."""
        if at is None:
            self._is_doubtful = bool(self._patterns)
            return ""
        here = float(at[0]), float(at[1])
        before = self._patterns[-REMEMBERED:]
        self._patterns = [*before, here]
        if len(before) < FEW:
            return ""
        usual = median(x for x, _ in before), median(y for _, y in before)
        away_px = math.dist(here, usual)
        if away_px <= PATTERN_PX:
            return ""
        self._is_doubtful, self._patterns = True, [here]
        return f"the primary beam of the patterns has moved by {away_px:.0f} px; its place in the image is looked at"


def _free_px(at: Pair, crystals: Sequence[FoundCrystal]) -> float:
    """How far the nearest crystal is from a place."""
    return min((math.dist(at, (c.fast_px, c.slow_px)) - c.length_px / 2 for c in crystals), default=math.inf)
