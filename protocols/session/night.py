"""What a session knows of its night so far, from the records of its own trace and nothing else.

Each record is taken as it is made; recovery, going on and the result take the same records later. So all of them know
the same, and a replay decides the same without the children's folders.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from engine.clock import NS_PER_S
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record
from protocols.session.crystals import Bar, Crystal, bars_in, crystals_again, crystals_in
from protocols.session.orders import Orders

SERIALED, RECALL, HEIGHT, CRED = "serialed", "serialed-recall", "eucentric-height", "cred"
"""The children, by their names in the register."""
REGION, BLOCK, CHOSEN, OVER, DATA_SET, ORDER, FAULT, NO_HEIGHT, HEIGHT_SET = (
    *("region", "block", "chosen", "crystal over", "data set", "order", "device fault", "no height", "height"),
)
"""Notes of a session's trace. `region`: `centre_nm`. `block`: `block` that was screened, from 1, and `how`. `chosen`:
`crystal` that comes next. `crystal over`: `crystal`, `how` (collected, set aside), `reason`, `stage` at which.
`data set`: `number`, `crystal`, `run_dir`, `result`. `order`: `words`. `device fault`: `device`, `reason`, `how`
(began, over, lost), `waited_s`. `height`: `z_nm` of the stage that is right at `x_nm`, `y_nm`.
"""
JUDGE, MERGE, DIALS = "judge", "merge", "dials_scale"
"""Computations whose last results are known."""
KEPT_OF_RESULT = ("start_deg", "end_deg", "range_deg", "frames", "elapsed_s", "beam_on_s", "live", "tracking")
"""Of a rotation's result, what goes with its data set."""
COLLECTED, SET_ASIDE = "collected", "set aside"
SCREENED = ("done", "stopped")
"""How a block was screened that has all its fields."""
NEW = 1.0
"""A crystal is worth so much or more whose pattern fits none of the cells found."""


@dataclass(frozen=True, slots=True)
class Over:
    """A crystal that is over. how: collected or set aside. stage: the state in which that was decided."""

    crystal: int
    how: str
    reason: str
    stage: str


@dataclass(slots=True)
class Night:
    """crystals: by number, `crystals[n - 1]`. over: by crystal, the last word on it. data_sets: in order, each with
    `number`, `crystal`, `run_dir`, `result`. beam_on_s: as the children told; beam_untold: how many did not. chosen:
    the crystal under way, 0 for none. judged, merged, dials: what the last judgement, the last merge and DIALS said.
    before_s: of the sessions that this one goes on from. in_state_s: seconds in each state, of these and this one.
    """

    centre_nm: tuple[float, float] | None = None
    blocks: int = 0
    crystals: list[Crystal] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    patterns: int = 0
    over: dict[int, Over] = field(default_factory=dict)
    data_sets: list[JsonDict] = field(default_factory=list)
    orders: Orders = field(default_factory=Orders)
    unscreened: list[str] = field(default_factory=list)
    """Of each block that was not screened whole, why."""
    heights: list[tuple[float, float, float]] = field(default_factory=list)
    """x, y of a place and z that is right there, in nm of the stage."""
    beam_on_s: float = 0.0
    beam_untold: int = 0
    faults: int = 0
    waited_s: float = 0.0
    chosen: int = 0
    judged: JsonDict = field(default_factory=dict)
    merged: JsonDict = field(default_factory=dict)
    dials: JsonDict = field(default_factory=dict)
    worth: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By crystal, what the last judgement that asked for it said, and how many phases were known then."""
    before_s: float = 0.0
    in_state_s: dict[str, float] = field(default_factory=dict)
    state: str = ""
    crystal_s: list[float] = field(default_factory=list)
    """How long each crystal took that was collected."""
    retried: set[int] = field(default_factory=set)
    """Crystals that come once more because a device failed before they had their dose."""
    _began_ns: int | None = None
    _last_ns: int = 0
    _state_ns: int = 0
    _chosen_ns: int = 0
    _screening_block: int = 0

    def take(self, record: Record) -> None:
        """The next record of the trace."""
        at_ns = record["t_ns"]
        self._last_ns = max(self._last_ns, at_ns)
        kind, name = record["kind"], record["name"]
        if kind == "state":
            if self._began_ns is None:
                self._began_ns = self._state_ns = at_ns
            self._in_state(at_ns)
            self.state = name
        elif kind == "child" and record["event"] != "begin":
            self._child(record)
        elif kind == "computation" and name == JUDGE and "result" in record:
            self.judged = dict(record["result"])
            told: Any = self.judged.get("worth") or {}
            self.worth |= {int(number): (float(value), len(self.phases)) for number, value in told.items()}
        elif kind == "computation" and name == MERGE and "result" in record:
            self.merged = dict(record["result"])
        elif kind == "computation" and name == DIALS and "result" in record:
            self.dials = dict(record["result"])
        elif kind == "note":
            self._note(name, record)

    def _in_state(self, at_ns: int) -> None:
        if self.state:
            spent_s = (at_ns - self._state_ns) / NS_PER_S
            self.in_state_s[self.state] = self.in_state_s.get(self.state, 0.0) + spent_s
        self._state_ns = at_ns

    def _child(self, record: Record) -> None:
        result: Any = record.get("result") or {}
        told = result.get("beam_on_s")
        if isinstance(told, int | float):
            self.beam_on_s += told
        elif result:
            self.beam_untold += 1
        if record.get("protocol") == SERIALED and result:
            self.crystals += crystals_in(result, self.blocks + 1, self.crystals)
            self.bars += bars_in(result)
            self.patterns += int(result.get("patterns") or 0)

    def _note(self, name: str, record: Record) -> None:
        if name == REGION:
            x_nm, y_nm = record["centre_nm"]
            self.centre_nm = (x_nm, y_nm)
        elif name == BLOCK:
            self.blocks = max(self.blocks, int(record["block"]))
            if record["how"] not in SCREENED:
                self.unscreened.append(str(record["how"]))
        elif name == CHOSEN:
            self.chosen, self._chosen_ns = int(record["crystal"]), record["t_ns"]
        elif name == OVER:
            number = int(record["crystal"])
            self.over[number] = Over(number, record["how"], record["reason"], record["stage"])
            self.orders.first = [each for each in self.orders.first if each != number]
            if record["how"] == COLLECTED:
                self.crystal_s.append((record["t_ns"] - self._chosen_ns) / NS_PER_S)
            self.chosen = 0
        elif name == DATA_SET:
            self.data_sets.append({key: record[key] for key in ("number", "crystal", "run_dir", "result")})
        elif name == HEIGHT_SET:
            self.heights.append((record["x_nm"], record["y_nm"], record["z_nm"]))
        elif name == ORDER:
            self.orders.take(record["words"])
        elif name == FAULT:
            self.faults += record["how"] == "began"
            self.waited_s += record.get("waited_s") or 0.0
            if record.get("retried"):
                self.retried.add(int(record["retried"]))
                self.chosen = 0

    def height_near(self, crystal: Crystal, within_um: float) -> float | None:
        """Z that was found right nearest to a crystal, in nm; None where that is farther away, or none was."""
        away = [(math.hypot(x - crystal.x_nm, y - crystal.y_nm), z) for x, y, z in self.heights]
        nearest = min(away, default=None)
        return nearest[1] if nearest is not None and nearest[0] <= 1000.0 * within_um else None

    @property
    def known_worth(self) -> dict[int, float]:
        """By crystal, what it is worth as far as that was asked. That a pattern fits no cell is not known any more once
        there is a new one.
        """
        return {n: value for n, (value, phases) in self.worth.items() if value < NEW or phases == len(self.phases)}

    @property
    def asked(self) -> set[int]:
        """Crystals whose patterns were tried on all phases that are known."""
        return {number for number, (_, phases) in self.worth.items() if phases == len(self.phases)}

    @property
    def last_ns(self) -> int:
        """When the last record was made."""
        return self._last_ns

    def elapsed_s(self, now_ns: int | None = None) -> float:
        """Of the session, and of those that it goes on from."""
        if self._began_ns is None:
            return self.before_s
        return self.before_s + (max(self._last_ns, now_ns or 0) - self._began_ns) / NS_PER_S

    @property
    def indexable(self) -> int:
        """Data sets of which a lattice was determined."""
        return sum(is_indexable(each["result"]) for each in self.data_sets)

    @property
    def phases(self) -> list[JsonDict]:
        """As the last judgement has them."""
        told = self.judged.get("phases")
        return told if isinstance(told, list) else []

    def as_json(self) -> JsonDict:
        """For the header of a session that goes on from this one; `Night.of` reads it.

        A crystal that was being rotated when the program was cut off has had its dose: it is set aside. One that was
        only looked for comes again.
        """
        over = dict(self.over)
        if self.chosen and self.state in ("collect", "judge"):
            reason = "its rotation was cut off with the program; what it holds is in its folder"
            over[self.chosen] = Over(self.chosen, SET_ASIDE, reason, self.state)
        return {
            "centre_nm": self.centre_nm,
            "blocks": self.blocks,
            "crystals": [crystal.row for crystal in self.crystals],
            "bars": [[bar.x_nm, bar.y_nm] for bar in self.bars],
            "patterns": self.patterns,
            "over": [[each.crystal, each.how, each.reason, each.stage] for each in over.values()],
            "data_sets": self.data_sets,
            "heights": [list(each) for each in self.heights],
            "orders": self.orders.as_json(),
            "unscreened": self.unscreened,
            "beam_on_s": round(self.beam_on_s, 3),
            "beam_untold": self.beam_untold,
            "faults": self.faults,
            "waited_s": self.waited_s,
            "judged": self.judged,
            "worth": [[number, value, phases] for number, (value, phases) in self.worth.items()],
            "merged": self.merged,
            "dials": self.dials,
            "elapsed_s": round(self.elapsed_s(), 3),
            "in_state_s": {name: round(spent_s, 3) for name, spent_s in self.in_state_s.items()},
            "crystal_s": [round(spent_s, 3) for spent_s in self.crystal_s],
        }

    @classmethod
    def of(cls, done: JsonObject | None, run: str = "") -> "Night":
        """What an earlier session had done; nothing for one that begins anew. run: the folder of that session, in which
        its data sets lie.
        """
        if done is None:
            return cls()
        centre = done["centre_nm"]
        return cls(
            centre_nm=None if centre is None else (centre[0], centre[1]),
            blocks=int(done["blocks"]),
            crystals=crystals_again(done["crystals"]),
            bars=[Bar(x, y) for x, y in done["bars"]],
            patterns=int(done["patterns"]),
            over={int(each[0]): Over(int(each[0]), *each[1:]) for each in done["over"]},
            data_sets=[{**each, "run_dir": _elsewhere(each["run_dir"], run)} for each in done["data_sets"]],
            orders=Orders.of(done["orders"]),
            unscreened=list(done.get("unscreened") or ()),
            heights=[(x, y, z) for x, y, z in done["heights"]],
            beam_on_s=float(done["beam_on_s"]),
            beam_untold=int(done["beam_untold"]),
            faults=int(done["faults"]),
            waited_s=float(done["waited_s"]),
            judged=dict(done["judged"]),
            worth={int(n): (float(value), int(phases)) for n, value, phases in done.get("worth") or ()},
            merged=dict(done.get("merged") or {}),
            dials=dict(done.get("dials") or {}),
            before_s=float(done["elapsed_s"]),
            in_state_s=dict(done["in_state_s"]),
            crystal_s=list(done["crystal_s"]),
        )


def _elsewhere(run_dir: str, run: str) -> str:
    """The folder of a data set as seen from another session's."""
    return run_dir if run_dir.startswith("../") or not run else f"../{run}/{run_dir}"


def is_indexable(result: JsonObject) -> bool:
    """Whether a look determined a lattice in a rotation."""
    live = result.get("live")
    return isinstance(live, dict) and live.get("determined") is True


def kept_of(result: JsonObject) -> JsonDict:
    """Of a rotation's result, what is kept with its data set."""
    return {name: result[name] for name in KEPT_OF_RESULT if name in result}
