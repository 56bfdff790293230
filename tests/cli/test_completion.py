"""What a shell asks for when Tab is pressed: README says how to switch it on."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv[0] = 'credline'; from engine.commands.program import main; main()"


def asked(instruction: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    variables = {"_CREDLINE_COMPLETE": instruction, "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables, "CREDLINE_DEVICES": "ours.toml"},
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    done = asked(f"source_{shell}")
    assert done.returncode == 0, done.stderr
    assert "_CREDLINE_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("typed", "words"),
    [("credline pl", ["plan"]), ("credline plan --ke", ["--keys"]), ("credline trace st", ["stats"])],
)
def test_words_are_completed_also_those_of_groups(typed: str, words: list[str]) -> None:
    done = asked("complete_bash", typed)
    assert (done.stdout.split(), done.stderr) == (words, "")
