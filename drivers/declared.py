"""What drivers say of an instrument that is not connected: facts from the options alone, and where each comes from.

A driver's `facts(options)` gives `Declared`, pure data, without asking anybody. `Declared.assembled` puts those of
several drivers together as `drivers.contract.Parts.assembled` does with what is connected, so that `credline plan`
prepares from the same figures as a run. What only the instrument can tell is named in `unknown` and guessed nowhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from drivers.assembling import NOBODY_KNOWS, figures, middle_of, parts_of
from drivers.calibration.calibratedcamera import with_flatfield
from drivers.calibration.calibrationfacts import CalibratedFigure
from drivers.calibration.holding import Holding, holding, not_overruled
from drivers.calibration.imagefacts import ImageFacts
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.facts import DetectorFacts, Facts, Geometry, OpticsFacts, StageFacts, Timing
from drivers.judged import cannot_be
from drivers.origins import CALIBRATED, DEFAULT, TYPED, Layers, by_precedence, disagreements
from drivers.origins import TOLD as TOLD_BY_INSTRUMENT
from drivers.parts import DeflectorFacts, IlluminationFacts, ModeFacts, StageXYZFacts
from engine.errors import Refused

DECLARED = "declared by the driver"
TOLD = "told by the instrument"
ASSUMED = "assumed, for nobody has told"
OF_TABLE = {"geometry": "written in the devices file", "timing": "measured in the devices file"}
"""Of the tables of a devices file; `credline devices check` measures, and writes, the second."""
LONGEST_TEXT = 60
BEAM = {"beam_fast_px", "beam_slow_px"}


@dataclass(frozen=True, slots=True)
class Declared:
    """What one driver says of its parts from its options alone.

    Each part by the facts that it will have; None for one that this driver has not. beam: True for a blanker, of which
    nothing is known without a call. geometry, timing: as in `drivers.contract.Parts`.
    unknown: by its name (`detector.shape`, `geometry.wavelength_A`) each fact that only the connected instrument tells,
    with a few words on who tells it. It is None, empty or left out above; a limit that may turn out narrower, or a type
    that may turn out another one, is what follows from the options.
    """

    stage: StageFacts | None = None
    beam: Literal[True] | None = None
    optics: OpticsFacts | None = None
    detector: DetectorFacts | None = None
    geometry: Mapping[str, float] = field(default_factory=dict)
    timing: Timing | None = None
    stagexyz: StageXYZFacts | None = None
    deflectors: DeflectorFacts | None = None
    mode: ModeFacts | None = None
    illumination: IlluminationFacts | None = None
    tracking: TrackingFacts | None = None
    images: ImageFacts | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    def assembled(
        self,
        others: Mapping[str, "Declared"] | None = None,
        geometry: Mapping[str, float] | None = None,
        timing: Mapping[str, float] | None = None,
        instrument: Path | None = None,
    ) -> "KnownFacts":
        """What is known of the whole instrument; arguments and refusals as of `Parts.assembled`."""
        others, geometry, timing = others or {}, geometry or {}, timing or {}
        parts = parts_of(self, others)
        del parts["beam"]
        told, only_told = self._told(others.get("detector"))
        calibrated = self._calibrated(instrument, told, geometry, parts["detector"])
        if calibrated.arrays is not None:
            parts["detector"] = with_flatfield(parts["detector"])
        layers = {
            TYPED: geometry,
            CALIBRATED: calibrated.geometry,
            TOLD_BY_INSTRUMENT: told,
            DEFAULT: {**middle_of(parts["detector"]), **NOBODY_KNOWS},
        }
        known, of_geometry, only_told = self._known(layers, only_told, parts["detector"])
        times = {} if self.timing is None else {item.name: getattr(self.timing, item.name) for item in fields(Timing)}
        facts = Facts(
            Geometry(**figures(Geometry, "geometry", known, only_told)),
            Timing(**figures(Timing, "timing", {**times, **calibrated.timing, **timing})),
            **parts,
            origins=of_geometry,
            disagreements=tuple(disagreements(layers, calibrated.sigmas)),
            calibration=not_overruled(calibrated.facts, of_geometry, CALIBRATED),
            tracking=calibrated.tracking or others.get("optics", self).tracking,
            images=calibrated.images or others.get("detector", self).images,
        )
        if why := cannot_be(facts):
            raise Refused(f"devices: {why} Nothing was started; correct the devices file.")
        unknown = {
            name: words
            for part in parts
            for name, words in others.get(part, self).unknown.items()
            if name.startswith(f"{part}.")
        } | {f"geometry.{name}": words for name, words in only_told.items()}
        origins = dict.fromkeys(by_name(facts), DECLARED)
        origins |= dict.fromkeys(origins.keys() & unknown.keys(), ASSUMED)
        assumed = [each.name for each in fields(Geometry) if of_geometry.get(each.name, DEFAULT) == DEFAULT]
        origins |= {f"geometry.{name}": ASSUMED for name in assumed}
        for table, written in (("geometry", geometry), ("timing", timing)):
            origins |= {f"{table}.{name}": OF_TABLE[table] for name in written}
        origins |= calibrated_from(facts)
        return KnownFacts(facts, origins, unknown)

    def _told(self, camera: "Declared | None") -> tuple[dict[str, float], dict[str, str]]:
        """The figures of the geometry that drivers declare, and those that only the instrument tells. camera: what is
        declared of it, where its driver is another one.
        """
        told: dict[str, float] = {}
        only_told: dict[str, str] = {}
        for who in (self, camera) if camera is not None else (self,):
            words = {_last(name): words for name, words in who.unknown.items() if name.startswith("geometry.")}
            only_told = {name: only_told[name] for name in only_told if name not in who.geometry} | words
            told = {name: value for name, value in {**told, **who.geometry}.items() if name not in words}
            if who is self and camera is not None:  # where the beam is on one camera tells nothing of another
                told = {name: value for name, value in told.items() if name not in BEAM}
        return told, only_told

    @staticmethod
    def _calibrated(
        instrument: Path | None, told: Mapping[str, float], written: Mapping[str, float], camera: DetectorFacts
    ) -> Holding:
        """What of the instrument file holds, as far as that is known without a connection."""
        wavelength_A = {**told, **written}.get("wavelength_A")
        return holding(instrument, wavelength_A, {**written, **told}.get("camera_length_mm"), camera.shape)

    @staticmethod
    def _known(
        layers: Layers, only_told: Mapping[str, str], size: DetectorFacts
    ) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
        """The figures that are known, the origin of each (`drivers.origins`), and those that only the instrument tells:
        what is written or calibrated goes before that.
        """
        known, origins = by_precedence(layers)
        only_told = dict(only_told)
        if size.shape is None:
            only_told |= dict.fromkeys(sorted(BEAM - known.keys()), "the camera, by its size")
        only_told = {name: words for name, words in only_told.items() if origins.get(name) not in (TYPED, CALIBRATED)}
        for name in only_told.keys() & known.keys():
            del known[name], origins[name]
        return known, origins, only_told

    @property
    def by_name(self) -> dict[str, Any]:
        """The single facts by their names, as in `unknown`; parts that the driver has not have none."""
        found = {f"geometry.{name}": value for name, value in self.geometry.items()}
        for item in fields(self):
            if is_dataclass(part := getattr(self, item.name)):
                found |= by_name(part, f"{item.name}.")
        return found


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """What is known of an instrument, and from where.

    origins: where each fact comes from, by its name. unknown: as in `Declared`. differences: where the instrument,
    asked, tells otherwise than its drivers declare, in words.
    """

    facts: Facts
    origins: Mapping[str, str]
    unknown: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()

    @property
    def rows(self) -> Sequence[tuple[str, str, str]]:
        """For a person: part, its facts with their values, origin; a row for each part and origin."""
        values = by_name(self.facts)
        sigmas = {} if self.facts.calibration is None else self.facts.calibration.figures
        grouped: dict[tuple[str, str], list[str]] = {}
        for name, origin in self.origins.items():
            part, _, fact = name.partition(".")
            if not is_missing(values[name]) and values[name] != ():
                grouped.setdefault((part, origin), []).append(f"{fact} {_text(values[name])}{_sure(sigmas.get(name))}")
        return [(part, ", ".join(texts), origin) for (part, origin), texts in grouped.items()]

    def asked(self, told: Facts) -> "KnownFacts":
        """The same instrument, connected, with what it tells of itself."""
        declared, now = by_name(self.facts), by_name(told)
        others = {name for name in {**declared, **now} if now.get(name) != declared.get(name)}
        origins = {
            name: TOLD if name in others or name in self.unknown else self.origins.get(name, DECLARED) for name in now
        } | {f"geometry.{name}": CALIBRATED for name, origin in told.origins.items() if origin == CALIBRATED}
        origins |= calibrated_from(told)
        differences = tuple(
            f"{name}: told {_text(now.get(name))}, declared {_text(declared.get(name))}"
            for name in {**declared, **now}
            if name in others and name not in self.unknown
        )
        still = {name: words for name, words in self.unknown.items() if is_missing(now.get(name))}
        return replace(self, facts=told, origins=origins, unknown=still, differences=differences)


def by_name(facts: Any, prefix: str = "") -> dict[str, Any]:
    """The single facts of `Facts`, or of a part, by names like `stage.limits_deg`; absent parts have none."""
    found: dict[str, Any] = {}
    for item in fields(facts):
        value, name = getattr(facts, item.name), f"{prefix}{item.name}"
        if name == "calibration":  # tells of the others how sure they are
            continue
        if is_dataclass(value):
            found |= by_name(value, f"{name}.")
        elif prefix:
            found[name] = value
    return found


def calibrated_from(facts: Facts) -> dict[str, str]:
    """The origin of each fact that an instrument file gives, with the name of that file."""
    if facts.calibration is None:
        return {}
    known = by_name(facts)
    return {name: f"{CALIBRATED}, {facts.calibration.file}" for name in facts.calibration.figures if name in known}


def _sure(figure: CalibratedFigure | None) -> str:
    return "" if figure is None else f" +- {figure.sigma:.2g}"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def is_missing(value: object) -> bool:
    """Whether nobody knows it: None, an empty type, no number."""
    return value in (None, "") or (isinstance(value, float) and math.isnan(value))


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        text = ", ".join(_text(item) for item in value)
        value = f"({text})" if text else "none"
    elif isinstance(value, Mapping):
        value = ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."
