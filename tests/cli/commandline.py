"""credline's command line in this process: the same words and the same `main`, without the second that a start takes.

Where the process is what a test is about (signals, kills, its hash seed), `tests.packages.called` starts one.
"""

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

import structlog

from engine.commands.main import main


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Carry out `credline WORDS`; its status and what it wrote, as of a process that has ended."""
    out, err, logging = StringIO(), StringIO(), structlog.get_config()
    status: object = 0
    try:
        with patch.object(sys, "argv", ["credline", *words]), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        structlog.configure(**logging)
    assert isinstance(status, int)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
