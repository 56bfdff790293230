"""`credline serialed evaluate`: the finder of crystals on simulated fields of which all is known."""

import json
import time
from typing import Annotated

import typer

FIELDS, MOST_FIELDS = 40, 2000


def evaluate(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first field; the others follow.")] = 1000,
    fields: Annotated[int, typer.Option("--fields", min=1, max=MOST_FIELDS, help="How many, of all kinds.")] = FIELDS,
    as_json: Annotated[bool, typer.Option("--json", help="The last line of standard output is a JSON object.")] = False,
) -> None:
    """How many crystals the finder finds, how many that it finds are some, and how well it knows where they are.

    Fields of 512 x 512 pixels: continuous, holey and lacey film, large and small crystals, dark and pale ones.
    """
    from protocols.serialed.finding.crystals import find_crystals
    from protocols.serialed.finding.evaluation import by_size, judged, places_of, settings_of, summary, true_fields

    results, cpu_s = [], []
    for field in true_fields(seed, fields):
        before = time.process_time()
        found = find_crystals(field.image, field.nm_per_px, settings_of(field.kind))
        cpu_s.append(time.process_time() - before)
        results.append(judged(field, places_of(found)))
    kinds = list(dict.fromkeys(each.field.kind for each in results))
    by_kind = {kind.name: summary([each for each in results if each.field.kind == kind]) for kind in kinds}
    whole = summary(results)
    typer.echo(f"{'fields':32s} crystals  recall  precision  rms px  touching  paler", err=as_json)
    for name, told in {**by_kind, "all": whole}.items():
        typer.echo(
            f"{name:32s} {told['crystals']:8d}  {_told(told['recall'])}  {_told(told['precision']):>9s}  "
            f"{_told(told['rms_px'])}  {_told(told['recall_touching']):>8s}  {_told(told['recall_paler'])}",
            err=as_json,
        )
    sizes = by_size(results)
    typer.echo("recall by longest edge: " + ", ".join(f"{k} {_told(v).strip()}" for k, v in sizes.items()), err=as_json)
    # The first field pays for what is loaded and made once.
    per_field = sum(cpu_s[1:] or cpu_s) / len(cpu_s[1:] or cpu_s)
    typer.echo(f"{per_field:.3f} s of CPU a field", err=as_json)
    if as_json:
        line = {**whole, "cpu_s_per_field": round(per_field, 4), "by_size": sizes, "by_kind": by_kind}
        typer.echo(json.dumps({"seed": seed, "fields": fields, **line}))


def _told(value: float | int | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"
