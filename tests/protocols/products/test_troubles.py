"""What went wrong is said once, whoever said it."""

from engine.record.document import RunDocument
from protocols.products.troubles import told_before

LATE = "crystals could not be looked for: no answer"


def test_what_several_children_warned_of_in_the_same_words_is_one_line() -> None:
    warnings = ("1_screening: dark", *(f"{number}_recall: {LATE}" for number in (3, 7, 9, 12)), "crystal 4: no height")
    document = RunDocument(protocol="session", status="done", clock="real", plan={}, warnings=warnings)
    assert list(told_before(document)) == [
        "WARNING: 1_screening: dark",
        f"WARNING: 4 times, 3_recall, 7_recall, ...: {LATE}",
        "WARNING: crystal 4: no height",
    ]


def test_two_children_have_a_line_each_and_so_has_each_warning_of_the_run_itself() -> None:
    warnings = (f"1_cred: {LATE}", "no light", f"2_cred: {LATE}", "no light")
    document = RunDocument(protocol="session", status="done", clock="real", plan={}, warnings=warnings)
    assert list(told_before(document)) == [
        f"WARNING: 1_cred: {LATE}",
        f"WARNING: 2_cred: {LATE}",
        "WARNING: no light",
        "WARNING: no light",
    ]


def test_what_the_run_itself_warned_of_often_has_no_names() -> None:
    document = RunDocument(protocol="cred", status="done", clock="real", plan={}, warnings=("no light",) * 3)
    assert list(told_before(document)) == ["WARNING: 3 times: no light"]
