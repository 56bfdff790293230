"""Runs of cRED with small pictures and without files, in a second each, for commands that go through many."""

from pathlib import Path

from tests.cli.commandline import command

DEVICES = """[microscope]
driver = "simulated"
[microscope.pictures]
shape = [128, 128]
[microscope.geometry]
beam_fast_px = 66.0
beam_slow_px = 66.0
"""


def small_runs(folder: Path, count: int) -> Path:
    """The folder of so many, `mordenite_001` and on, each with a seed of its own."""
    (folder / "lab.toml").write_text(DEVICES, encoding="utf-8")
    settings = ("range_deg=1", "relax_cycles=0", "snapshot_interval=0", "formats=[]")
    words = [word for setting in settings for word in ("--set", setting)]
    for seed in range(1, count + 1):
        place = ("--devices", f"{folder}/lab.toml", "--out", f"{folder}/runs", "--seed", str(seed))
        done = command("run", "cred", "--clock", "virtual", *place, *words)
        assert done.returncode == 0, done.stderr
    return folder / "runs"
