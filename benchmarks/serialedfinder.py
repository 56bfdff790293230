"""The crystal finder beside Instamatic's own on the same simulated fields, and on pictures of other sizes.

.venv/bin/python -m benchmarks.serialedfinder --seed 1000 --fields 40                # a minute
.venv/bin/python -m benchmarks.serialedfinder --peer .counterparts/bin/python        # and the peer, from PyPI
.venv/bin/python -m benchmarks.serialedfinder --sizes                                # 512 to 4096 px
.venv/bin/python -m benchmarks.serialedfinder --pictures fields                      # with what was found, as PNG

The peer runs in a process of its own environment; both are judged by `protocols.serialed.finding.evaluation`. Its
positions are (row, column) of pixel middles; half a pixel is added.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from protocols.serialed.finding.crystals import Found, find_crystals
from protocols.serialed.finding.evaluation import (
    KINDS,
    Judged,
    TrueField,
    by_size,
    judged,
    places_of,
    settings_of,
    summary,
    true_field,
    true_fields,
)

PEER = """
import os, sys, time, numpy as np
os.startfile = print  # it was written for Windows
try:
    import instamatic.config
except SystemExit:  # once, when it has made its settings
    pass
from instamatic.processing import find_crystals as peer
images = np.load(sys.argv[1])
nm_per_px = float(sys.argv[2])
peer.calibration = {"mag1": {"pixelsize": {2500: nm_per_px}}}
places, seconds = [], []
for number, image in enumerate(images):
    # As its experiment calls it; its area is of an image scaled down to 256 pixels, by its own calibration.
    before = time.process_time()
    found = peer.find_crystals_timepix(image.astype(float), magnification=2500)
    seconds.append(time.process_time() - before)
    places += [(number, each.y + 0.5, each.x + 0.5) for each in found]
np.savez(sys.argv[3], places=np.array(places).reshape(-1, 3), seconds=np.array(seconds))
"""
SIZES_PX = (512, 1024, 2048, 4096)


def table(name: str, results: list[Judged], cpu_s: list[float]) -> None:
    print(f"\n{name}: {np.mean(cpu_s[1:]):.3f} s of CPU a field (median {np.median(cpu_s[1:]):.3f})")
    for size in ("large", "small"):
        for contrast in ("dark", "pale"):
            for film in (*dict.fromkeys(kind.film for kind in KINDS), "all films"):
                some = [
                    each
                    for each in results
                    if (each.field.kind.size, each.field.kind.contrast) == (size, contrast)
                    and film in (each.field.kind.film, "all films")
                ]
                if some:
                    print(f"  {size}, {contrast}, {film}: {line(summary(some))}")
    print(f"  all: {line(summary(results))}; by size {by_size(results)}")


def line(told: dict[str, float | int | None]) -> str:
    return (
        f"recall {told['recall']} of {told['crystals']}, precision {told['precision']} of {told['found']}, "
        f"rms {told['rms_px']} px (median {told['median_px']}); "
        f"touching {told['recall_touching']} of {told['touching']}, "
        f"paler {told['recall_paler']} of {told['paler']}"
    )


def ours(fields: list[TrueField]) -> tuple[list[Judged], list[float], list[Found]]:
    results, cpu_s, found = [], [], []
    for field in fields:
        before = time.process_time()
        found.append(find_crystals(field.image, field.nm_per_px, settings_of(field.kind)))
        cpu_s.append(time.process_time() - before)
        results.append(judged(field, places_of(found[-1])))
    return results, cpu_s, found


def peers(fields: list[TrueField], python: str) -> tuple[list[Judged], list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        images, answer = Path(folder) / "images.npy", Path(folder) / "answer.npz"
        np.save(images, np.array([each.image for each in fields]))
        command = [python, "-W", "ignore", "-c", PEER, str(images), str(fields[0].nm_per_px), str(answer)]
        # It keeps its settings where it is told that a user has them.
        own = {"OMP_NUM_THREADS": "1", "HOME": folder, "AppData": folder, "MPLBACKEND": "Agg"}
        subprocess.run(command, check=True, env=own, stdout=subprocess.DEVNULL)
        with np.load(answer) as told:
            places, cpu_s = told["places"], told["seconds"].tolist()
    return [judged(each, places[places[:, 0] == k, 1:]) for k, each in enumerate(fields)], cpu_s


def draw(folder: Path, fields: list[TrueField], found: list[Found], results: list[Judged]) -> None:
    """Found crystals green (alone), blue (not alone) or red (wrong); crystals that were missed yellow."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    for field, seen, told in zip(fields, found, results, strict=True):
        grey = np.clip(field.image * (230.0 / np.percentile(field.image, 99.9)), 0, 255).astype(np.uint8)
        picture = Image.fromarray(grey).convert("RGB")
        pen = ImageDraw.Draw(picture)
        for crystal, wrong in zip(seen.crystals, told.wrong, strict=True):
            pen.polygon(crystal.outline_px, outline="red" if wrong else "lime" if crystal.is_isolated else "cyan")
        for k in np.flatnonzero(field.asked & (told.pair < 0)):
            x, y = field.fast_px[k], field.slow_px[k]
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], outline="yellow")
        picture.save(folder / f"{field.seed}_{field.kind.name.replace(', ', '_')}.png")


def sizes(seed: int) -> None:
    for kind in KINDS[::3]:
        for size_px in SIZES_PX:
            fields = [true_field(seed + k, kind, size_px) for k in range(2)]
            results, cpu_s, _ = ours(fields)
            print(f"{kind.name}, {size_px} px: {line(summary(results))}; {max(cpu_s):.2f} s of CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--peer", help="the Python that has instamatic")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--pictures", type=Path)
    told = parser.parse_args()
    if told.sizes:
        sizes(told.seed)
        return
    fields = list(true_fields(told.seed, told.fields))
    results, cpu_s, found = ours(fields)
    table("credline", results, cpu_s)
    if told.peer:
        table("Instamatic, find_crystals_timepix", *peers(fields, told.peer))
    if told.pictures:
        draw(told.pictures, fields, found, results)


if __name__ == "__main__":
    main()
