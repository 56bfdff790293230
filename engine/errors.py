"""The error tree: every error tells the person at the microscope what happened, and what to do.

Each message holds the cause, whether the action happened, the state afterwards and the remedy, on one line.
The command line prints that line and no traceback for anything derived from `CredlineError`.
"""

import builtins

SHOWN_LETTERS = 100


def shown(text: object, letters: int = SHOWN_LETTERS) -> str:
    """What somebody wrote, as part of a message: its beginning, without anything that a terminal would obey."""
    whole = str(text)
    begin = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in whole[:letters])
    return begin if len(whole) <= letters else f"{begin}..."


class CredlineError(Exception):
    """Base of all errors that credline raises on purpose; its text is one line for a person."""

    exit_status = 1


class Refused(CredlineError):
    """The request was not begun: bad input, or a plan that cannot fit. Nothing moved, nothing was written."""

    exit_status = 2


class Interrupted(CredlineError):
    """The operator ended the program with Ctrl-C where no run was under way; the message says how things stand."""

    exit_status = 130


class Underflow(CredlineError):
    """A step would have started too late, so it was NOT done; the device is as it was before the step."""


class BudgetExceeded(CredlineError):
    """A step WAS done, but took longer than its budget; the device is in the state after the step."""


class DeviceError(CredlineError):
    """A device answered with an error. Whether the action happened is said in the message."""


class DeviceBusy(DeviceError):
    """An earlier call has not returned yet; the new call was NOT made."""


class DeviceLost(DeviceError):
    """A device does not answer any more; whether its last action happened is unknown."""


class ComputationError(CredlineError):
    """A computation has no result: it was late, its worker died, it was replaced, or its function failed."""


class RunAborted(CredlineError):
    """The operator aborted the run: data kept as far as it got, products not made."""


class DataError(CredlineError):
    """A file of a run is missing, damaged or of another version; the file was left as it is."""

    exit_status = 2


class StorageError(CredlineError):
    """Data could not be written to disk; the run ends in the safe state, what was written before stays valid."""


class VirtualDeadlock(CredlineError):
    """Under virtual time nothing is left to wait for: the named tasks would hang for ever on the real clock."""


class MachineError(CredlineError):
    """A state machine is malformed, or was sent a trigger its state does not know; the state did not change."""


def error_again(name: str, text: str, *, foreign: bool) -> Exception:
    """An error that a trace tells of: it is called as it was, says what it said, and is of this tree if it was."""
    kind: object = vars(builtins).get(name) if foreign else globals().get(name, DeviceError)
    if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, ExceptionGroup):
        kind = Exception
    error: Exception = type(name, (kind,), {"__init__": lambda *_: None, "__str__": lambda _: text})()
    return error
