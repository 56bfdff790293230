"""A mark that an operator leaves in a run."""

from engine.replay.replay import replay


def test_a_mark_stands_in_the_trace_changes_nothing_and_comes_again_in_a_replay(record_run, assert_trace_matches):
    def mark(record, run):
        if record["kind"] == "frame" and record["slot"] == 2:
            run.commands.mark("ice here", by="Anna")

    plan = {"range_deg": 3, "snapshot_interval": 0, "relax_cycles": 0, "formats": []}
    marked, plain = record_run("cred", on=mark, **plan), record_run("cred", **plan)
    (command,) = marked.of("command")
    assert (command["name"], command["reason"], command["by"]) == ("marked", "ice here", "Anna")
    assert marked.document["result"] == plain.document["result"]
    assert_trace_matches(replay(marked.trace), marked)
