"""cRED for the soak: random plans and troubles, and what is watched at every step; `rules` judges the end."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drivers.parts import OpticalMode
from engine.record.trace import Record
from engine.run.trial import Case, SoakedRun, Trial
from protocols.cred.machine import PRESCAN, TRANSITIONS, WORKING, State
from protocols.cred.records import PRESCAN_IMAGE
from protocols.cred.soak.hard import HardTroubles
from protocols.cred.soak.rules import STUCK, rules_of

EXPOSING = (State.PRESCAN_SNAPSHOT.value, State.EXPOSE.value, State.DEFOCUS_SNAPSHOT.value)
UNBLANKING = (State.PRESCAN_SNAPSHOT.value, State.DELAY.value)
SMALL = {
    "driver": "simulated",
    "geometry": {"beam_fast_px": 16.3, "beam_slow_px": 15.1},
    "pictures": {"shape": [32, 32], "wide_cross": False},
}
"""An instrument whose pictures cost little."""
SNAPSHOTS = {
    "driver": "simulated",
    "geometry": {"beam_fast_px": 48.0, "beam_slow_px": 48.0},
    "pictures": {"shape": [96, 96], "wide_cross": False, "disc_radius_px": 36.0, "rendered": "snapshots"},
}
"""Snapshots that show a crystal, and frames of nothing but counts."""
PROBE = {
    **SNAPSHOTS,
    "geometry": {"beam_fast_px": 64.0, "beam_slow_px": 64.0},
    "pictures": {
        **{"shape": [128, 128], "wide_cross": False, "disc_radius_px": 30.0, "rendered": "snapshots"},
        "probe_selects": True,
    },
}
"""The same where a small probe selects, and not an aperture: its disc has room to move in."""
TRACKED = 0.125
IN_TURNS = 0.25
BY = {"beam shift": 0.2, "stage": 0.4, "image shift, beam follows": 0.55}
"""Up to which number drawn a crystal is brought back by what; by the image shift alone above."""
LOOKED_AT, FAST_DEG_S = 0.1, 2.0
WAYS = {(source.value, t.trigger, t.dest.value) for t in TRANSITIONS for source in t.sources}


class CredTrial(Trial):
    """Implements `engine.testing.soak.Trial`."""

    def draw(self, rng: random.Random) -> tuple[dict[str, Any], list[str]]:
        """A run of 3 to 40 slots and up to five troubles."""
        exposure_s = rng.choice([0.05, 0.1, 0.2, 0.5, 0.5, 1.0])
        period_s = exposure_s + 0.012
        slots = rng.randint(3, 40)
        speed_deg_s = rng.choice([0.2, 0.45, 1.0, 2.0])
        range_deg = round(slots * period_s * speed_deg_s, 3) * rng.choice([1, 1, -1])
        settling_slots = int(0.55 / period_s) + 1
        interval = rng.choice([0, 0, rng.randint(settling_slots + 2, settling_slots + 9)])
        plan: dict[str, Any] = {
            "exposure_s": exposure_s,
            "speed_deg_s": speed_deg_s,
            # With the run-in and run-out within what every holder allows.
            "start_deg": rng.choice([-30.0, 0.0, 12.5]) if abs(range_deg) < 35 else math.copysign(38.0, -range_deg),
            "range_deg": range_deg,
            "rotation": rng.choice(["pedal", "commanded"]),
            "snapshot_interval": interval,
            "relax_cycles": rng.choice([0, 0, 1, 2]),
            "unblank": rng.random() < 0.8,
            "rotation_timeout_s": rng.choice([20.0, 120.0]),
            "formats": [],
        }
        duration_s = slots * period_s + 5.0
        troubles = [self._trouble(rng, slots, duration_s) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5]))]
        if rng.random() < 0.08:  # a camera that is slower from some frame on
            first, late_s = rng.randint(1, 16), round(exposure_s * rng.uniform(0.2, 0.8), 3)
            troubles += [f"detector.frames {k} late {late_s}" for k in range(first, first + rng.randint(4, 16))]
        return plan, troubles

    def draw_hard(self, rng: random.Random) -> tuple[dict[str, Any], list[str]]:
        """The second way: the plan as in the first, longer and with snapshots more often, and troubles of one or two
        sorts that belong together instead of any. Half the runs are left on purpose, from any state at any step. In a
        third of them the camera or the optics have a trouble of their own besides. Some look at the crystal.
        """
        plan, _ = self.draw(rng)
        period_s = plan["exposure_s"] + 0.012
        slow_camera = rng.random() < 0.15
        slots = rng.randint(40, 64) if slow_camera else rng.randint(12, 40)
        range_deg = round(slots * period_s * plan["speed_deg_s"], 3)
        if range_deg < 35:  # else as drawn: within what every holder allows
            plan["range_deg"] = math.copysign(range_deg, plan["range_deg"])
            plan["start_deg"] = rng.choice([-30.0, 0.0, 12.5])
        else:
            slots = max(3, int(abs(plan["range_deg"]) / (period_s * plan["speed_deg_s"])))
        if not plan["snapshot_interval"] and rng.random() < 0.5:
            settling_slots = int(0.55 / period_s) + 1
            plan["snapshot_interval"] = settling_slots + rng.randint(2, 5)
        hard = HardTroubles(rng, slots, plan["exposure_s"])
        troubles = hard.late_row() if slow_camera else hard.on_the_way()
        if not troubles:
            troubles = [self._trouble(rng, slots, slots * period_s)]
        if rng.random() < 0.5:
            troubles += hard.leaving()
        if rng.random() < 0.7:
            troubles += hard.safe_state()
        besides = rng.random()  # drawn after all that: what a seed was before there were these, it is with them
        if besides < 0.14:
            troubles += hard.shutter()
        elif besides < 0.18:
            troubles.append(f"detector.frames {rng.randint(1, slots)} type")
        elif besides < 0.24:
            troubles.append(f"detector.frames {rng.randint(1, slots)} {rng.choice(STUCK)}")
            plan["bad_frames"] = rng.choice(["go on", "stop"])
        elif besides < 0.32:
            state, after_s = rng.choice([*WORKING, State.FINALIZE]), rng.uniform(0.0, 3.0)
            troubles.append(f"mode.changed {state.value}+{after_s:.3f} {rng.choice([*OpticalMode])}")
        return self._tracked(rng, *self._looked_at(rng, plan, troubles))

    def _looked_at(
        self, rng: random.Random, plan: dict[str, Any], troubles: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """In a tenth of the runs the crystal is looked at, in most of these with something to decide, and now and then
        a look is late, or its worker dies. The pictures show no lattice: what that decides comes about.
        """
        if rng.random() >= LOOKED_AT:
            return plan, troubles
        plan = {**plan, "live": True}
        range_deg = abs(plan["range_deg"]) * FAST_DEG_S / plan["speed_deg_s"]
        if range_deg < 35:  # so fast that looks come: one every three degrees
            plan["speed_deg_s"], plan["range_deg"] = FAST_DEG_S, math.copysign(round(range_deg, 3), plan["range_deg"])
        range_deg = abs(plan["range_deg"])
        if rng.random() < 0.6:
            plan["stop_if"] = {"no_lattice_after_deg": max(0.1, round(range_deg * rng.uniform(0.1, 0.9), 3))}
        if rng.random() < 0.3:
            plan["stop_at"] = {rng.choice(["completeness", "damage"]): round(rng.uniform(0.05, 0.95), 3)}
        if rng.random() < 0.2:
            plan["stop_if"] = {**plan.get("stop_if", {}), "several_lattices": True}
        if rng.random() < 0.15:
            look, kind = rng.randint(1, 3), rng.choice(["late", "dead", "never"])
            troubles = [*troubles, f"compute.live {look} {kind}"]
        return plan, troubles

    def _tracked(
        self, rng: random.Random, plan: dict[str, Any], troubles: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """In an eighth of the runs with snapshots a crystal is tracked that its goniometer moves; half of these have a
        trouble with deflectors or answers.
        """
        if not plan["snapshot_interval"] or rng.random() >= TRACKED:
            return plan, troubles
        plan = {**plan, "tracking": rng.choice(["show", "correct", "correct"])}
        if plan["snapshot_interval"] > 4 and rng.random() < 0.5:
            plan["snapshot_when_unsure_nm"] = rng.choice([30.0, 100.0, 300.0])
            plan["snapshot_interval_least"] = plan["snapshot_interval"] - rng.randint(1, 3)
        plan["crystal_lost"] = rng.choice(
            ["go on", "stop", "search"] if plan["tracking"] == "correct" else ["go on", "stop"]
        )
        number, value_s = rng.randint(1, 8), round(rng.uniform(0.05, 3.0), 3)
        calls = [f"deflectors.{call} {number}" for call in ("read", "set", "set", "set")]
        if rng.random() < 0.5:
            kind = rng.choice(["error", "hang", f"slow {value_s}", f"away {value_s}"])
            looks = [f"compute.locate {number} {ending}" for ending in ("late", "dead", "never")]
            troubles = [*troubles, rng.choice([f"{rng.choice(calls)} {kind}", rng.choice(looks)])]
        if plan["unblank"] and rng.random() < 0.4:
            plan["prescan_images"] = rng.randint(1, 4)
            if rng.random() < 0.3:
                state, after_s = rng.choice(PRESCAN), rng.uniform(0.0, 2.0)
                troubles = [*troubles, f"operator {state.value}+{after_s:.3f} {rng.choice(['stop', 'abort'])}"]
        if plan["tracking"] == "correct":
            plan, troubles = self._tracked_by(rng, plan, troubles)
            return self._in_turns(rng, plan), troubles
        return plan, troubles

    def _in_turns(self, rng: random.Random, plan: dict[str, Any]) -> dict[str, Any]:
        """In a quarter of those that can, two or three crystals by their paths: there may be one, or nothing."""
        alone = ("prescan_images", "snapshot_when_unsure_nm", "live", "stop_at", "stop_if")
        if any(plan.get(key) for key in alone) or plan.get("track_by") == "stage" or rng.random() >= IN_TURNS:
            return plan
        paths = []
        for number in range(rng.choice([2, 3])):
            x_nm, y_nm = (round(rng.uniform(-1500.0, 1500.0) * min(number, 1), 1) for _ in "xy")
            sigma_nm = rng.choice([30.0, 100.0])
            rows = [[angle_deg, x_nm, y_nm, 0.0, sigma_nm] for angle_deg in (-90.0, 90.0)]
            paths.append({"file": f"{number}.csv", "rows": rows})
        lost = "go on" if plan["crystal_lost"] == "search" else plan["crystal_lost"]
        return {**plan, "path": paths[0], "other_paths": paths[1:], "crystal_lost": lost}

    def _tracked_by(
        self, rng: random.Random, plan: dict[str, Any], troubles: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """By what the crystal is brought back: in half of the runs by something else than the image shift alone. A
        stage has troubles of its own.
        """
        number = rng.random()
        by = next((name for name, up_to in BY.items() if number < up_to), "image shift")
        if by == "image shift, beam follows":
            return {**plan, "beam_follows": True}, troubles
        if by == "stage" and rng.random() < 0.5:
            call, kind = rng.choice(["move_xy", "move_xy", "position", "is_moving"]), rng.choice(["error", "hang"])
            troubles = [*troubles, f"stagexyz.{call} {rng.randint(1, 8)} {kind}"]
        return {**plan, "track_by": by}, troubles

    def instrument(self, case: Case) -> dict[str, Any]:
        """A camera that tells only between which instants it exposed, where a shutter is slow: of one that tells them
        nothing would say so. One with pictures where the crystal is looked at, and where its frames show nothing, or
        too much, or always the same.
        """
        kinds = {kind for words in case.troubles for kind in words.split()[2:3]}
        has_pictures = case.plan.get("live") or kinds.intersection(STUCK)
        options: dict[str, Any] = dict(SMALL) if has_pictures else {}
        if case.plan.get("tracking", "off") != "off":
            by = case.plan.get("track_by", "image shift")
            options = {**(PROBE if by == "beam shift" else SNAPSHOTS), "motion": {"drawn_seed": case.seed % 100_000}}
            if by == "stage":
                options["stagexyz"] = {"backlash_nm": 0.0}
        if "shutter" in kinds:
            options["detector"] = {"tells_instants": False}
        return options

    def _trouble(self, rng: random.Random, slots: int, duration_s: float) -> str:
        at_s = round(rng.uniform(0.0, duration_s), 3)
        call = rng.choice(
            [
                f"stage.angle {rng.randint(1, 60)}",
                f"stage.{rng.choice(['rotate', 'stop', 'release_to_pedal'])} {rng.randint(1, 2)}",
                f"beam.{rng.choice(['blank', 'blank', 'unblank', 'is_blanked'])} {rng.randint(1, 3)}",
                f"optics.{rng.choice(['focus', 'set_focus'])} {rng.randint(1, 8)}",
                f"detector.{rng.choice(['arm', 'disarm'])} 1",
                f"detector.start {rng.randint(1, slots)}",
            ]
        )
        order = rng.choice(
            ["stage.rotate", "stage.stop", "beam.blank", "beam.unblank", "optics.set_focus", "detector.disarm"]
        )
        value = round(rng.choice([rng.uniform(0.02, 1.0), rng.uniform(1.0, 12.0)]), 3)
        sign = rng.choice([-1, 1])
        return rng.choice(
            [
                f"{call} error",
                f"{call} hang",
                f"{order} {rng.randint(1, 3)} ignored",
                f"{call} slow {value}",
                f"{call} away {value}",
                f"stage.angle {rng.randint(1, 60)} wrong {sign * value}",
                f"optics.focus {rng.randint(1, 4)} wrong {sign * 500}",
                f"beam.is_blanked {rng.randint(1, 3)} wrong 1",
                f"detector.frames {rng.randint(1, slots)} {rng.choice(['drop', 'double', 'torn'])}",
                f"detector.frames {rng.randint(1, slots)} late {value}",
                f"detector.frames 1 late {rng.choice([1.0, 1.2])}",
                f"stage.motion {at_s} {rng.choice(['stop', 'reverse'])}",
                f"stage.motion {at_s} jump {sign * value}",
                f"stage.motion {at_s} slip {value}",
                f"host {at_s} {rng.choice(['starve', 'leap'])} {value}",
                f"disk.write {rng.randint(1, 4 * slots)} {rng.choice(['full', 'error'])}",
                f"disk.sync {rng.randint(1, 2 * slots)} error",
                f"disk.{rng.choice(['write', 'sync'])} {rng.randint(1, 2 * slots)} slow {value}",
                f"operator {at_s} {rng.choice(['stop', 'abort'])}",
            ]
        )

    def simpler(self, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Half the range, and one key after the other as in the plainest run."""
        plain = {
            "snapshot_interval": 0,
            "relax_cycles": 0,
            "rotation": "commanded",
            "unblank": True,
            "exposure_s": 0.5,
            "speed_deg_s": 0.45,
            "start_deg": 0.0,
        }
        slot_deg = (plan["exposure_s"] + 0.012) * plan["speed_deg_s"]
        if abs(plan["range_deg"]) > 4 * slot_deg:
            yield {**plan, "range_deg": round(plan["range_deg"] / 2, 3)}
        if plan["range_deg"] < 0:
            yield {**plan, "range_deg": -plan["range_deg"]}
        if plan.get("live"):
            yield {**plan, "live": False, "stop_at": {}, "stop_if": {}}
            for key in ("stop_at", "stop_if"):
                if plan.get(key):
                    yield {**plan, key: {}}
        if plan.get("tracking", "off") != "off":
            off: dict[str, Any] = {"tracking": "off", "crystal_lost": "go on", "path": None, "other_paths": []}
            by: dict[str, Any] = {"track_by": "image shift", "beam_follows": False}
            yield {**plan, **off, **by, "prescan_images": 0, "snapshot_when_unsure_nm": None}
            if plan.get("path"):
                yield {**plan, "path": None, "other_paths": []}
            if any(plan.get(key, value) != value for key, value in by.items()):
                yield {**plan, **by}
            if plan.get("snapshot_when_unsure_nm") is not None:
                yield {**plan, "snapshot_when_unsure_nm": None}
        if plan.get("prescan_images"):
            yield {**plan, "prescan_images": 0}
        for key, value in plain.items():
            if plan[key] != value:
                yield {**plan, key: value}

    def watch(self, record: Record, before: Sequence[Record]) -> str | None:
        """Every step: states follow one another as drawn, frames come in exposing states and in order."""
        kind = record["kind"]
        if kind not in ("state", "frame", "call"):
            return None
        state = next((r["name"] for r in reversed(before) if r["kind"] == "state"), None)
        if kind == "state":
            if state is not None and (state, record["trigger"], record["name"]) not in WAYS:
                return f"states follow the machine: {record['name']} came after {state} by {record['trigger']}"
        elif kind == "frame":
            last = next((r for r in reversed(before) if r["kind"] == "frame" and r["name"] == record["name"]), None)
            which = "look" if record["name"] == PRESCAN_IMAGE.name else "slot"
            if last is not None and record[which] <= last[which]:
                return f"{which}s of frames rise: {record[which]} came after {last[which]}"
        elif record["name"] == "detector.start" and state not in EXPOSING:
            return f"exposures are made while exposing: one was begun in state {state}"
        elif record["name"] == "beam.unblank" and state not in UNBLANKING and "error" not in record:
            return f"the beam is unblanked when rotation was seen, or for a look before it: it was in state {state}"
        return None

    def ended_itself(self, soaked: SoakedRun) -> bool:
        """See `Trial.ended_itself`: a crystal that leaves ends a run whose plan says so."""
        policy = str(soaked.case.plan.get("crystal_lost", "go on"))
        return policy != "go on" and soaked.ending.reason.startswith(f"crystal_lost = {policy}")

    def judge(self, soaked: SoakedRun) -> Iterator[tuple[str, bool, str]]:
        """The rules of cRED."""
        return rules_of(soaked)
