"""Sessions for the soak: a small region, few crystals, troubles in any child; what is judged at the end."""

import random
from collections.abc import Iterator

from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.session.night import OVER

CALLS = (
    *("stagexyz.move_xy", "stagexyz.position", "deflectors.set", "mode.set_mode", "illumination.set_brightness"),
    *(
        "beam.unblank",
        "beam.blank",
        "detector.start",
        "detector.arm",
        "stage.rotate",
        "stage.angle",
        "optics.set_focus",
    ),
)


class SessionTrial(Trial):
    """What `credline soak session` draws of it, and the rules that it adds to those of the engine."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan: JsonDict = {
            "report": False,
            "width_um": 13.0,
            "height_um": 13.0 * rng.randint(1, 2),
            "block_um": rng.choice([0.0, 13.0]),
            "set_height": rng.random() < 0.3,
            "choose": {"crystals": rng.randint(1, 3), "score_least": 0.0, "several_most": 1.0, "isolated": False},
            "goal": {"max_hours": rng.choice([0.05, 8.0])},
            "device_fault": rng.choice(["wait", "wait", "end"]),
            "wait_for_device_min": rng.choice([0.5, 5.0]),
            # A network that scores takes longer to load than a hundred such nights.
            "screening": {"score": False, "crystals_per_field": 3, "step_um": 13.0},
            "merge": rng.random() < 0.5,
            "cred": {
                "range_deg": 4.0,
                "start_deg": -2.0,
                "speed_deg_s": 1.0,
                "live": rng.random() < 0.2,
                "relax_cycles": 0,
                "snapshot_interval": 0,
                "tracking": "off",
            },
        }
        troubles = [self.trouble(rng) for _ in range(rng.choice([0, 1, 1, 2]))]
        if rng.random() < 0.6:
            trouble = rng.choice(
                ["error", "hang", f"slow {rng.uniform(0.1, 3):.2f}", f"lost {rng.uniform(1, 200):.0f}"]
            )
            troubles.append(f"{rng.choice(CALLS)} {rng.randint(1, 60)} {trouble}")
        if rng.random() < 0.3:
            troubles.append(f"operator {rng.uniform(0, 120):.2f} {rng.choice(['stop', 'abort'])}")
        return plan, troubles

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a grid on a small camera."""
        return {
            "driver": "simulated",
            "pictures": {"shape": [192, 192], "wide_cross": False, "magnified": 0.71},
            "geometry": {"beam_fast_px": 96.0, "beam_slow_px": 96.0},
            "grid": {
                "seed": case.seed,
                "film": "continuous",
                "pitch_nm": 1e7,
                "crystals_um2": 0.12,
                "probe_nm": 400.0,
            },
            "mode": {"mode": "imaging", "settling_s": 0.2, "switching_s": 0.035},
        }

    def simpler(self, plan: JsonObject) -> Iterator[JsonDict]:
        """See `Trial.simpler`."""
        if plan["height_um"] != 13.0:
            yield {**plan, "height_um": 13.0}
        if plan["choose"]["crystals"] > 1:
            yield {**plan, "choose": {**plan["choose"], "crystals": 1}}

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
        result = soaked.document["result"]
        over = [r["crystal"] for r in soaked.of("note", OVER)]
        yield "no crystal is over twice", len(set(over)) == len(over), f"{over}"
        yield "the result counts the crystals that are over", result["tried"] == len(over), f"{result['tried']}"
