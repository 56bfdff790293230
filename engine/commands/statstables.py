"""The tables of `credline trace stats`: calls, steps, waits that ended late, and facts of the whole run."""

from rich.markup import escape
from rich.table import Table

from engine.commands.tables import print_whole
from engine.record.jsonobject import JsonObject
from engine.views.lines import plain

STEPS_EXPLAINED = (
    "slack: how long before its planned instant the engine was ready for a step,\n"
    "negative when too late; left: what was left of its budget at its end;\n"
    "over: steps over their budget; undone: steps not begun, for it was too late."
)


def print_tables(document: JsonObject) -> None:
    """Print the figures of a trace (`engine.views.stats`) for a person; tables without rows are left out."""
    for table in _tables(document):
        print_whole(table)
        if str(table.title).startswith("steps"):
            print(STEPS_EXPLAINED)
        print()


def _tables(document: JsonObject) -> list[Table]:
    calls = _table("calls, in ms", "call", "n", "p50", "p99", "max", "unknown", "errors")
    for name, row in document["calls_ms"].items():
        calls.add_row(_cell(name), *_cells(row["n"], row["p50"], row["p99"], row["max"], row["unknown"], row["errors"]))
    steps = _table("steps, in ms", "step", "n", "slack min", "median", "left min", "late max", "over", "undone")
    for row in document["steps_ms"]:
        slack, left, late = row["slack"], row["left"], row["late"]
        figures = (row["n"], slack["min"], slack["p50"], left["min"], late["max"], row["over"], row["underflow"])
        steps.add_row(_cell(f"{row['state']}: {row['step']}"), *_cells(*figures))
    wakes = _table("waits that ended late, by ms", "wait", "n", "p50", "p99", "max")
    for name, row in document["wakes_ms"].items():
        wakes.add_row(_cell(name), *_cells(row["n"], row["p50"], row["p99"], row["max"]))
    facts = Table(show_header=False, box=None)
    elapsed_s = document["elapsed_s"]
    lost = document["lost_slots"]
    for name, value in (
        ("records", str(document["records"])),
        ("time", "unknown" if elapsed_s is None else f"{elapsed_s:.3f} s"),
        ("frames", ", ".join(f"{n} {name}" for name, n in document["frames"].items()) or "none"),
        ("lost slots", f"{document['lost']}: {', '.join(map(str, lost[:50]))}" if lost else "none"),
        (
            "period changed",
            f"at slot {', '.join(map(str, document['stretched_at']))}" if document["stretched_at"] else "",
        ),
        ("faults", str(document["faults"] or "none")),
        ("last state", document["last_state"] or "none"),
        ("origin", str(document["origin"] or "")),
    ):
        if value:
            facts.add_row(name, _cell(value))
    return [table for table in (calls, steps, wakes) if table.row_count] + [facts]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), title_style="bold")
    for heading in headings:
        is_name = heading in ("call", "step", "wait")
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=not is_name)
    return table


def _cell(text: str) -> str:
    """What a trace says, with nothing in it that the table or a terminal would obey."""
    return escape(plain(text))


def _cells(*values: float | None) -> list[str]:
    return ["?" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}" for value in values]
