"""All that is fuzzed: everything that reads what somebody else wrote."""

from collections.abc import Sequence

from engine.replay.replay import load_run
from tests.fuzz.folders import (
    JOURNAL,
    crystal_of,
    damaged_run,
    exported,
    use_document,
    use_journal,
    use_log,
    use_salvage,
    use_spool,
    with_crystal,
    with_pictures,
)
from tests.fuzz.mutations import (
    ANY,
    Change,
    json_changed,
    mutated,
    records_changed,
)
from tests.fuzz.plans import DEVICES, PLANS, UNCONNECTED, use_devices, use_plan, use_settings, use_unconnected, words_of
from tests.fuzz.target import Make, Target
from tests.fuzz.traces import asked_of, questions_of, use_plot, use_replay, use_trace, use_what_if
from tests.fuzz.wholeinputs import Whole


def targets(whole: Whole) -> tuple[Target, ...]:
    """All of them."""

    def changed(seeds: Sequence[bytes], *changes: Change) -> Make:
        return lambda random: mutated(random, seeds, changes)

    lines = (*ANY, records_changed, records_changed, records_changed)
    document = (*ANY, json_changed, json_changed, json_changed)
    run, cut_off = whole.run, whole.cut_off
    own = whole.traces[:3]
    return (
        Target("plan", 14, changed(PLANS, *ANY), use_plan),
        Target("settings", 14, words_of, use_settings),
        Target("devices", 14, changed(DEVICES, *ANY), use_devices),
        Target("unconnected", 8, changed(UNCONNECTED, *ANY), use_unconnected),
        Target("trace", 16, changed(whole.traces, *lines), use_trace),
        Target("plot", 1, changed(whole.traces, *lines), use_plot),
        Target("replay", 6, changed(own, records_changed, records_changed, records_changed, *ANY), use_replay),
        Target("what-if", 4, changed(own, records_changed, records_changed, records_changed, *ANY), use_what_if),
        Target("question", 4, questions_of, asked_of(load_run(run))),
        Target("log", 10, changed(whole.logs, *ANY), use_log),
        Target("spool", 8, changed([(cut_off / "frames.spool").read_bytes()], *ANY), use_spool),
        Target("salvage", 4, changed([(cut_off / "frames.spool").read_bytes()], *ANY), use_salvage),
        Target("journal", 6, changed([(run / "journal.jsonl").read_bytes(), JOURNAL], *lines), use_journal),
        Target("run.json", 6, changed([(run / "run.json").read_bytes()], *document), use_document),
        *(
            Target(
                f"recover {name}",
                1,
                changed([(cut_off / name).read_bytes()], *(lines if name == "trace.jsonl" else document)),
                damaged_run(cut_off, name),
            )
            for name in ("run.json", "trace.jsonl", "frames.spool")
        ),
        Target("export crystal.json", 1, changed([crystal_of(run)], *document), with_crystal(run)),
        Target("replay frames.h5", 1, changed([(run / "frames.h5").read_bytes()], *ANY), with_pictures(run)),
        *(
            Target(f"export {name}", 1, changed([(run / name).read_bytes()], *document), exported(run, name))
            for name in ("run.json", "frames.h5")
        ),
    )
