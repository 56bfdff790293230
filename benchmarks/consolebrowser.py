"""What an open page costs in memory, how fast a frame is on its screen, and what ten pages do; in Chromium.

    python benchmarks/consolebrowser.py memory --minutes 15
    python benchmarks/consolebrowser.py screen
    python benchmarks/consolebrowser.py live --size 2048 --exposure 0.3
    python benchmarks/consolebrowser.py clients --number 10

docs/console.md has the figures. `memory`: a live view is open, with the beam on, two pictures a second; once a minute
the memory of all processes of Chromium, of the web server and of the instrument process, each shared page by its share.
`screen`: from the arrival of a frame in the instrument process to the end of its drawing on the canvas. `live`: the
same of a live view with the beam on, with how many pictures a second are taken and drawn. `clients`: a cRED run with a
console that nobody watches, and with many clients without a browser that take every frame that they are sent.
Simulated, on loopback; other load of the machine is in the figures.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from statistics import median

from benchmarks.console import PLAN, console, instrument_process, late_ms, p99, run_once, until_over, watch
from engine.record.document import RunDocument
from engine.record.framekinds import SHOWN_ONLY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MARK = """() => {
  const seen = window.drawnAt = []; let last = null;
  setInterval(() => {
    const drawn = window.credline?.drawn;
    if (drawn && drawn !== last) { last = drawn; seen.push([drawn.kind, drawn.row, drawn.at]); }
  }, 5);
}"""
"""Notes the frames that the page has drawn, with the instants that it says itself."""


def children_of(pid: int) -> list[int]:
    """A process and all those below it."""
    found = [pid]
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in each.read_text().split():
            found += children_of(int(child))
    return found


def resident_mb(pids: list[int]) -> float:
    """Of these processes together, shared pages by their share."""
    total_kb = 0
    for pid in pids:
        try:
            told = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total_kb += int((re.search(r"^Pss:\s+(\d+)", told, re.M) or [0, 0])[1])
    return total_kb / 1024


class Page:
    """A page in Chromium that may steer."""

    def __init__(self, playwright, port: int, log: str) -> None:
        self.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        self.page = self.browser.new_page(viewport={"width": 1366, "height": 768})
        self.page.set_default_timeout(120_000)
        self.page.goto(re.findall(r"http://\S+enter\S+", log)[-1])
        self.page.get_by_text("you steer").wait_for()


def browsing(out: Path, work) -> None:
    """Work with a page, the port, and the console's process."""
    from playwright.sync_api import sync_playwright

    with console(out, tell=True) as (port, process, log), sync_playwright() as playwright:
        here = Page(playwright, port, log)
        try:
            work(here.page, process)
        finally:
            here.browser.close()


def memory(out: Path, instrument: int, minutes: float) -> None:
    def work(page, server) -> None:
        page.locator("#view").click()
        page.get_by_role("button", name="Unblank", exact=True).click()
        page.wait_for_function("() => window.credline.frames >= 20")
        own = os.getpid()
        rows = []
        for minute in range(int(minutes) + 1):
            chromium = [pid for pid in children_of(own) if "chrom" in Path(f"/proc/{pid}/comm").read_text()]
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
            row = [resident_mb(chromium), heap, resident_mb([server.pid]), resident_mb([instrument])]
            rows.append(row)
            words = zip(("Chromium", "page's heap", "web server", "instrument process"), row, strict=True)
            frames = page.evaluate("window.credline.frames")
            load = os.getloadavg()[0]
            told = ", ".join(f"{name} {mb:.0f}" for name, mb in words)
            print(f"{minute:3d} min: {told} MB; {frames} frames drawn, load {load:.1f}", flush=True)
            if minute < int(minutes):
                page.wait_for_timeout(60_000)
        late = rows[len(rows) // 3 :]
        grown = [b - a for a, b in zip(late[0], late[-1], strict=True)]
        print(f"grown in the last two thirds, MB: {', '.join(f'{value:+.1f}' for value in grown)}")
        page.locator("#stop").click()
        page.wait_for_function("() => window.credline.run?.status === 'stopped'")

    browsing(out, work)


def screen(out: Path) -> None:
    longer = ["range_deg=30" if word.startswith("range_deg") else word for word in PLAN]
    folder = asyncio.run(run_once(out, longer))  # before a page comes and steers

    def work(page, _) -> None:
        page.evaluate(MARK)
        with ThreadPoolExecutor(1) as beside:  # Playwright has a loop in this thread
            over = beside.submit(asyncio.run, until_over(folder))
            while not over.done():
                page.wait_for_timeout(500)
        zero = datetime.fromisoformat(str(RunDocument.read(folder).created_at)).timestamp()
        lines = map(json.loads, (folder / "trace.jsonl").read_text().splitlines())
        arrived = [zero + record["arrived_ns"] / 1e9 for record in lines if record["kind"] == "frame"]
        drawn = page.evaluate("window.drawnAt")
        took = [at - 1000 * arrived[row] for kind, row, at in drawn if kind == "diffraction" and row < len(arrived)]
        took = [each for each in took if 0 < each < 10_000]
        load = os.getloadavg()[0]
        print(
            f"frame to screen: median {median(took):.0f}, p99 {p99(took):.0f} ms ({len(took)} frames), load {load:.1f}"
        )

    browsing(out, work)


def live(out: Path, exposure_s: float, minutes: float) -> None:
    def work(page, _) -> None:
        fits = "() => document.getElementById('plan').textContent.includes('Fits')"
        page.locator("#protocol").select_option("view")
        page.wait_for_selector("#key-interval_s")
        page.wait_for_function(fits)  # or what is typed is lost to the form's defaults
        page.fill("#key-exposure_s", f"{exposure_s:g}")
        page.fill("#key-interval_s", "0.05")  # as fast as exposure and readings allow
        page.wait_for_timeout(1000)
        page.wait_for_function(fits)
        page.locator("#start:not([disabled])").click()
        page.get_by_role("button", name="Unblank", exact=True).click()
        page.wait_for_function("() => window.credline.frames >= 10")
        page.evaluate(MARK)
        page.wait_for_timeout(60_000 * minutes)
        drawn = page.evaluate("window.drawnAt")
        name, load = page.evaluate("window.credline.name"), os.getloadavg()[0]
        page.locator("#stop").click()
        page.wait_for_function("() => window.credline.run?.status === 'stopped'")
        document = RunDocument.read(out / name)
        zero = datetime.fromisoformat(str(document.created_at)).timestamp()
        lines = map(json.loads, (out / name / "trace.jsonl").read_text().splitlines())
        shown = [record for record in lines if record["kind"] == "refused" and record["reason"] == SHOWN_ONLY]
        took = [at - 1000 * (zero + shown[row]["arrived_ns"] / 1e9) for _, row, at in drawn if row < len(shown)]
        begin_ns, end_ns = ((at / 1000 - zero) * 1e9 for at in (drawn[0][2], drawn[-1][2]))
        taken = sum(begin_ns < record["arrived_ns"] < end_ns for record in shown)
        seconds = (end_ns - begin_ns) / 1e9
        print(f"exposure {document.plan['exposure_s']:g} s, interval {document.plan['interval_s']:g} s")
        print(f"frame to screen: median {median(took):.0f}, p99 {p99(took):.0f} ms ({len(took)} pictures)")
        print(f"{len(took) / seconds:.2f} drawn a second, {taken / seconds:.2f} taken, load {load:.1f}")

    browsing(out, work)


def loop_s(instrument: int) -> float:
    """Processor time of the thread that has the loop of the instrument process, which other load hardly lengthens."""
    return int(Path(f"/proc/{instrument}/task/{instrument}/schedstat").read_text().split()[0]) / 1e9


async def clients(out: Path, instrument: int, number: int, rounds: int) -> None:
    late: dict[int, list[float]] = {0: [], number: []}
    for k in range(2 * rounds):
        many = number if k % 4 in (1, 2) else 0
        came: list[list[tuple[int, float]]] = [[] for _ in range(many)]
        with console(out) as port:
            before_s = loop_s(instrument)
            folder = await run_once(out, PLAN)
            watching = [asyncio.create_task(watch(port, folder, each)) for each in came]
            document = await until_over(folder)
            spent_s = loop_s(instrument) - before_s
            for task in watching:
                task.cancel()
        late[many] += late_ms(folder)
        each = [len(frames) for frames in came] or [0]
        load = os.getloadavg()[0]
        lost = document.result.get("lost_slots")
        told = f"{min(each)}-{max(each)} frames each, {lost} slots lost, loop {spent_s:.2f} s of processor"
        print(f"{many:2d} clients: {told}, load {load:.1f}", flush=True)
    for many, values in late.items():
        print(f"{many:2d} clients: late median {median(values):.3f}, p99 {p99(values):.3f} ms ({len(values)} frames)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("memory", "screen", "live", "clients"))
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--size", type=int, default=0, help="Of the camera, in pixels; without, the usual 516.")
    parser.add_argument("--exposure", type=float, default=0.3, help="Of a picture of `live`, in seconds.")
    parser.add_argument("--number", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fifo", action="store_true", help="The instrument's loop before all other programs (root).")
    asked = parser.parse_args()
    with instrument_process(fifo=asked.fifo, size_px=asked.size) as (out, pid):
        if asked.what == "memory":
            memory(out, pid, asked.minutes)
        elif asked.what == "screen":
            screen(out)
        elif asked.what == "live":
            live(out, asked.exposure, asked.minutes)
        else:
            asyncio.run(clients(out, pid, asked.number, asked.rounds))


if __name__ == "__main__":
    main()
