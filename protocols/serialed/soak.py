"""Serial runs for the soak: random regions and troubles; what is watched at every step, and judged at the end."""

import random
from collections.abc import Iterator, Sequence

from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.serialed.machine import TRANSITIONS, State
from protocols.serialed.records import FIELD, PATTERN

CALLS = (
    *("stagexyz.move_xy", "stagexyz.is_moving", "stagexyz.position", "deflectors.set", "deflectors.read"),
    *("mode.set_mode", "mode.magnification", "illumination.set_brightness", "beam.unblank", "beam.blank"),
    *("detector.start", "detector.arm", "detector.disarm"),
)
EXPOSING = (State.IMAGE.value, State.CHECK_BEAM.value, State.EXPOSE.value)
WAYS = {(source.value, way.trigger, way.dest.value) for way in TRANSITIONS for source in way.sources}


class SerialedTrial(Trial):
    """What `credline soak serialed` draws of it, and the rules that it adds to those of the engine."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`: a few fields, and troubles with what moves, what lights, and what is computed."""
        plan: JsonDict = {
            "width_um": 13.0 * rng.randint(1, 3),
            "height_um": 13.0 * rng.randint(1, 2),
            "step_um": 13.0,
            "crystals": rng.choice(["all", "all", "isolated"]),
            "beam_check_fields": rng.choice([0, 1, 20]),
            "stage_settling_s": rng.choice([0.0, 0.6]),
            "crystals_per_field": rng.randint(1, 12),
            "score": False,
            "formats": [],
        }
        troubles = super().draw(rng)[1]
        if rng.random() < 0.6:
            trouble = rng.choice(
                ["error", "hang", f"slow {rng.uniform(0.1, 3):.2f}", f"away {rng.uniform(0.1, 3):.2f}"]
            )
            troubles.append(f"{rng.choice(CALLS)} {rng.randint(1, 25)} {trouble}")
        if rng.random() < 0.3:
            ending = rng.choice(["late", "dead", "never"])
            troubles.append(f"compute.{rng.choice(['find', 'probe'])} {rng.randint(1, 5)} {ending}")
        if rng.random() < 0.2:
            state = rng.choice([state.value for state in (State.IMAGE, State.SHIFT, State.EXPOSE, State.RESTORE)])
            troubles.append(f"operator {state}+{rng.uniform(0, 0.3):.3f} {rng.choice(['stop', 'abort'])}")
        return plan, troubles

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a grid on a small camera; on every third one something is hidden from the plan."""
        kind = case.seed % 6
        crystals_um2 = (0.05, 0.12, 0.12, 0.3, 0.0, 0.12)[kind]
        return {
            "driver": "simulated",
            "pictures": {"shape": [192, 192], "wide_cross": False, "magnified": 0.71},
            "geometry": {"beam_fast_px": 96.0, "beam_slow_px": 96.0},
            "grid": {
                "seed": case.seed,
                "film": "lacey" if kind == 3 else "continuous",
                "pitch_nm": 62_000.0 if kind == 5 else 1e7,
                "crystals_um2": crystals_um2,
                "probe_nm": 400.0,
            },
            "deflectors": {"lag": [60.0 if kind % 2 else 0.0, 0.0, 0.0, 0.0]},
            "illumination": {"drift_nm_min": [120.0 if kind == 2 else 0.0, 0.0]},
            "mode": {"mode": "imaging", "settling_s": 0.2, "switching_s": 0.035},
        }

    def simpler(self, plan: JsonObject) -> Iterator[JsonDict]:
        """See `Trial.simpler`: one field, and one key after the other as it usually is."""
        for key, value in {"width_um": 13.0, "height_um": 13.0, "crystals": "all", "beam_check_fields": 20}.items():
            if plan[key] != value:
                yield {**plan, key: value}
        if plan["crystals_per_field"] > 1:
            yield {**plan, "crystals_per_field": plan["crystals_per_field"] // 2}

    def watch(self, record: Record, before: Sequence[Record]) -> str | None:
        """See `Trial.watch`: states follow one another as drawn, and exposures are made in those that expose."""
        if record["kind"] not in ("state", "call"):
            return None
        state = next((r["name"] for r in reversed(before) if r["kind"] == "state"), None)
        if record["kind"] == "state":
            if state is not None and (state, record["trigger"], record["name"]) not in WAYS:
                return f"states follow the machine: {record['name']} came after {state} by {record['trigger']}"
        elif record["name"] in ("detector.start", "beam.unblank") and "error" not in record and state not in EXPOSING:
            return f"the beam is on while exposing: {record['name']} in state {state}"
        return None

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
        patterns = [(r["field"], r["crystal"]) for r in soaked.of("frame", PATTERN.name)]
        yield "no crystal is exposed twice", len(set(patterns)) == len(patterns), f"{patterns}"
        over = [r["field"] for r in soaked.of("note", FIELD)]
        yield "no field is over twice", len(set(over)) == len(over), f"{over}"
        result = soaked.document["result"]
        whole = soaked.document["status"] == "done"
        yield "a run that is done has done all its fields", not whole or len(over) == result["fields"], f"{over}"
        alike = result["patterns"] == len(patterns)
        yield "the result counts the patterns that there are", alike or bool(soaked.run.writer.error), f"{result}"
