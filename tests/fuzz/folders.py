"""Readers of run folders, their files and logs, and inputs for them."""

import json
import shutil
from pathlib import Path

from drivers.instamatic.log import import_instamatic
from engine.errors import CredlineError
from engine.record.document import RunDocument
from engine.record.journal import read_journal
from engine.record.salvage import salvage_journal, salvage_spool
from engine.record.spool import SpooledFrame, read_spool
from engine.replay.replay import load_run, replay_with_result
from engine.run.recovery import recover_run
from engine.views.bluesky import WallTime
from engine.views.lines import Selection, view
from protocols.products.crystalreport import crystal_section
from protocols.products.export import export_run
from protocols.products.foundcrystal import found_crystal
from protocols.products.metadata import run_header
from protocols.products.refinedgeometry import geometry_questions
from protocols.products.source import open_run
from tests.engine.traces import CRED_LOG, merlin_log
from tests.fuzz.target import Broken, Use
from tests.fuzz.traces import printable
from tests.protocols.products.test_foundcrystal import kept

JOURNAL = b"""{"t_ns":0,"began":true,"timing":{"p99_ms":0.01,"checks":[1,2.5,null]}}
{"t_ns":12,"state":"relax"}
{"t_ns":9000000000,"state":"expose"}
{"t_ns":90000000000,"state":"done","note":"gr\xc3\xbcn"}
"""


def use_log(folder: Path, content: bytes) -> None:
    """`credline trace import`, from a summary, a log of a day, or both; what it makes must be a trace."""
    for name, text in (("cRED_log.txt", CRED_LOG), ("day.log", merlin_log())):
        (folder / name).write_text(text, encoding="utf-8")
    damaged = folder / "damaged.log"
    damaged.write_bytes(content)
    pairs = ((damaged, None), (damaged, folder / "day.log"), (folder / "cRED_log.txt", damaged))
    refusal: CredlineError | None = None
    for log, day_log in pairs:
        try:
            imported = import_instamatic(log, day_log)
            trace = folder / "trace.jsonl"
            trace.write_text("".join(imported.lines()), encoding="utf-8", newline="\n")
        except CredlineError as error:
            refusal = error
            continue
        _ = imported.summary
        try:
            printable(view(trace, Selection()))
        except CredlineError as error:
            raise Broken(f"the imported trace is not one: {error}") from error
    if refusal is not None:
        raise refusal


def use_spool(folder: Path, content: bytes) -> None:
    """The pictures of a spool: all, and those of one kind."""
    path = folder / "frames.spool"
    path.write_bytes(content)
    for kind in (None, "snapshot", "flatfield"):
        for frame in read_spool(path, kind):
            _ = frame.counts.sum()


def use_salvage(folder: Path, content: bytes) -> None:
    """What recovery finds in a damaged spool: never an error, and never more than is there."""
    path = folder / "frames.spool"
    path.write_bytes(content)
    pictures_bytes = 0
    for item in salvage_spool(path):
        if isinstance(item, SpooledFrame):
            pictures_bytes += item.counts.nbytes
    if pictures_bytes > len(content):
        raise Broken(f"{pictures_bytes} bytes of pictures in a spool of {len(content)}")


def use_journal(folder: Path, content: bytes) -> None:
    """journal.jsonl, read strictly and as far as it goes."""
    path = folder / "journal.jsonl"
    path.write_bytes(content)
    salvage_journal(path)
    for line in read_journal(folder):
        json.dumps(line)


def use_document(folder: Path, content: bytes) -> None:
    """run.json as every command reads it first, and beside a trace that is exported."""
    (folder / "run.json").write_bytes(content)
    document = RunDocument.read(folder)
    WallTime.of_run(folder, {"t_ns": 5})
    from engine.run.registry import experiment_type

    experiment_type(document.protocol)


def damaged_run(source: Path, name: str) -> Use:
    """`credline recover`, and `credline export` of what became of it, of a run whose file `name` is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        shutil.copytree(source, run)
        (run / name).write_bytes(content)
        spool = run / "frames.spool"
        before = spool.read_bytes() if spool.exists() else None
        try:
            recover_run(run)
        except BaseException:
            if before is not None and (not spool.exists() or spool.read_bytes() != before):
                raise Broken("the spool was lost by a recovery that failed") from None
            raise
        with open_run(run) as opened:
            for index in range(len(opened.info.slot)):
                opened.raw(index)

    return use


def exported(source: Path, name: str) -> Use:
    """`credline export` of a finished run whose file `name` is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        run.mkdir()
        for part in ("run.json", "frames.h5"):
            shutil.copy(source / part, run / part)
        (run / name).write_bytes(content)
        with open_run(run) as opened:
            opened.flatfield()
        export_run(run, ("xds", "dials", "redp", "pets") if len(content) % 4 else ("nexus",))

    return use


def with_crystal(source: Path) -> Use:
    """`credline export` of a run whose crystal.json is damaged, and the crystal in its report."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        run.mkdir()
        for part in ("run.json", "frames.h5"):
            shutil.copy(source / part, run / part)
        (run / "crystal.json").write_bytes(content)
        export_run(run, ("xds", "dials", "pets"))
        with open_run(run) as opened:
            crystal = found_crystal(opened.info)
        if crystal is not None:
            header = run_header(opened.info, (256.0, 256.0))
            list(geometry_questions(opened.info, header, crystal))
            "".join(crystal_section(opened.info, header, crystal))

    return use


def crystal_of(run: Path) -> bytes:
    """A whole crystal.json for this run, which stays in its folder."""
    kept(run)
    return (run / "crystal.json").read_bytes()


def with_pictures(source: Path) -> Use:
    """`credline replay` of a run folder whose frames.h5 is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        shutil.copytree(source, run)
        (run / "frames.h5").write_bytes(content)
        replay_with_result(load_run(run), run)

    return use
