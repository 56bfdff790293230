"""The live view as an operator has it: real processes, a real browser, simulated devices on the real clock."""

import json
import re

import pytest

from tests.engine.console.browsing import IN_A_BROWSER, PATIENCE_MS, lit, slots, start

pytestmark = IN_A_BROWSER


def _told(page, words: str) -> None:
    page.get_by_text(f"Told: {words}.").wait_for()


def _row(page, name: str, text: str) -> None:
    """A quantity of the microscope says this."""
    page.wait_for_function(
        "([name, text]) => { const table = document.querySelector('#panels table'); "
        "const at = [...(table?.tHead?.rows[0].cells || [])].findIndex((cell) => cell.textContent === name); "
        "return table?.tBodies[0].rows[0]?.cells[at]?.textContent.includes(text); }",
        arg=[name, text],
    )


def _records(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


def test_an_operator_looks_saves_an_image_and_begins_a_run_from_there(page, console):
    from axe_playwright_python.sync_playwright import Axe

    page.locator("#view").click()
    lit(page, "view")
    page.wait_for_function("() => window.credline.frames >= 3")
    _row(page, "beam", "blanked")
    _row(page, "mode", "diffraction")
    _row(page, "camera length", "250 mm")
    _row(page, "tilt", "deg")

    page.get_by_role("button", name="Unblank", exact=True).click()
    _told(page, "unblank")
    _row(page, "beam", "ON")
    page.wait_for_function("() => document.getElementById('beam').textContent === 'BEAM ON'")
    page.locator("#seen-figures", has_text="beam from the middle").wait_for()
    page.locator("#seen-figures", has_text="sharpness").wait_for()
    page.wait_for_function("() => window.credline.drawn.rings === 6")  # of resolution, around the beam that is seen
    page.get_by_label("Exposure, s").fill("0.1")
    page.get_by_label("Exposure, s").press("Enter")
    _told(page, "exposure 0.1")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    reached = set()
    page.locator("#stop").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
    assert {"Unblank", "Blank", "Focus", "Save image", "mark-words"} <= reached
    page.get_by_role("button", name="Save image").click()
    _told(page, "save")
    page.get_by_role("tab", name="saved").wait_for()
    page.get_by_role("button", name="Blank", exact=True).click()
    _row(page, "beam", "blanked")
    page.get_by_role("button", name="Unblank", exact=True).click()
    _row(page, "beam", "ON")

    folder = console.folder / "runs" / "view_001"
    assert [file.name for file in (folder / "images").iterdir()] == ["0001.tiff"]
    assert page.locator("#folder").inner_text() == f"in {folder}"
    start(page)  # the view goes on until then
    lit(page, "expose")
    assert page.locator("#name").inner_text() == "zeolite_001"
    assert not page.locator("#handles").is_visible()
    slots(page, 2)
    view = json.loads((folder / "run.json").read_text())
    assert (view["status"], view["result"]["images"], view["alarms"]) == ("stopped", 1, [])
    assert "ended for a run of cred, from the console (browser" in view["reason"]
    records = _records(folder)
    told = [record for record in records if record["kind"] == "command" and record["name"] == "told"]
    assert [record["reason"] for record in told] == ["unblank", "exposure 0.1", "save", "blank", "unblank"]
    assert all(record["by"].startswith("browser") for record in told)
    assert any(record["kind"] == "note" and record["name"] == "safe state" for record in records)
    page.keyboard.press("F8")
    page.wait_for_function("() => window.credline.run?.status === 'stopped'")


def test_an_operator_moves_the_stage_and_changes_the_mode_from_the_page(page, console):
    page.locator("#view").click()
    lit(page, "view")
    _row(page, "mode", "diffraction")
    _row(page, "stage x, y, z", "0.00, 0.00, 0.00 um")
    steps = page.get_by_label("Move x, um")
    steps.fill("12")
    page.get_by_role("button", name="Move x, forwards").click()
    _told(page, "move x 12")
    _row(page, "stage x, y, z", "12.0")
    page.get_by_label("Move y, um").focus()  # the same by keys
    page.keyboard.press("Shift+Enter")
    _told(page, "move y -5")
    _row(page, "stage x, y, z", "-5.0")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move y, back"
    page.get_by_role("button", name="Tilt by, back").click()
    _told(page, "tilt by -5")
    _row(page, "tilt", "-5.0")

    choice = page.get_by_label("Imaging, x")
    assert choice.locator("option").first.inner_text() == "as it was"
    choice.select_option("20000")
    page.get_by_role("button", name="Imaging", exact=True).click()
    _told(page, "mode imaging 20000")
    _row(page, "mode", "imaging")
    _row(page, "magnification", "20000x")
    steps.fill("1500")
    page.get_by_role("button", name="Move x, forwards").click()
    page.locator("#operator", has_text="Nothing moved").wait_for()
    page.get_by_label("Diffraction, mm").select_option("400")
    page.get_by_role("button", name="Diffraction", exact=True).click()
    _row(page, "camera length", "400 mm")
    page.wait_for_function("() => document.getElementById('operator').hidden")

    page.locator("#stop").click()
    page.wait_for_function("() => window.credline.run?.status === 'stopped'")
    records = _records(console.folder / "runs" / "view_001")
    told = [record for record in records if record["kind"] == "command" and record["name"] == "told"]
    assert len(told) == 6
    assert all(record["by"].startswith("browser") for record in told)
    page.locator("#view").click()  # stage and mode have stayed
    page.wait_for_function("() => window.credline.name === 'view_002'")
    _row(page, "camera length", "400 mm")
    _row(page, "stage x, y, z", "12.0")


def test_a_page_that_does_not_steer_moves_nothing(page, console):
    page.locator("#view").click()
    _row(page, "mode", "diffraction")
    page.get_by_role("button", name="Move x, forwards").wait_for()
    other = page.context.new_page()
    other.goto(console.place)
    other.wait_for_function("() => window.credline.run?.status === 'running'")
    assert not other.locator("#handles").is_visible()
    answer = other.evaluate("async () => (await import('/page/ask.js')).act('tell', {words: 'move x 5'})")
    assert "steers" in answer["error"]
    other.close()


@pytest.mark.parametrize("console", [("--devices", "{folder}/large.toml")], indirect=True)
def test_frames_of_a_large_camera_come_as_fine_as_they_can_be_seen(page, console):
    def comes(fine: str) -> None:
        page.wait_for_function(f"() => {{ const told = window.credline.drawn; return told && {fine}; }}")

    coarse, whole = "told.binned > 1 && told.shape[0] < 1400", "told.binned === 1 && told.shape[0] === 1400"
    page.locator("#view").click()
    comes(coarse)
    page.locator("#frame").hover()
    page.locator("#pixel", has_text=re.compile(r"counts in \d x \d px$")).wait_for()
    page.locator("#frame").focus()
    for _ in range(6):
        page.keyboard.press("+")
    comes(whole)
    page.locator("#frame").hover(position={"x": 90, "y": 90})
    page.locator("#pixel", has_text=re.compile(r"\d counts$")).wait_for()
    page.keyboard.press("0")
    comes(coarse)


def test_the_red_button_ends_a_view_and_another_one_can_be_begun(page, console):
    page.locator("#view").click()
    page.get_by_role("button", name="Unblank", exact=True).click()
    page.wait_for_function("() => document.getElementById('beam').textContent === 'BEAM ON'")
    page.keyboard.press("F8")
    page.get_by_text("the blanker reads as closed").wait_for()
    page.wait_for_function("() => window.credline.run?.status === 'stopped'")
    page.locator("#view").click()
    page.wait_for_function("() => window.credline.name === 'view_002' && window.credline.run?.status === 'running'")
    page.locator("#stop").click()
    page.wait_for_function("() => window.credline.run?.status === 'stopped'", timeout=PATIENCE_MS)
