"""One program at a time: locks of the operating system, on a run folder and on an instrument.

A lock is gone with the program that held it, however that ended. Each is a file that is locked and, when let go,
deleted; a file left behind by a program that was killed is locked by nobody and is in nobody's way.
"""

import contextlib
import errno
import getpass
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from engine.clock import utc_now
from engine.errors import DataError, Refused

LOCK_FILE = "run.lock"
# Windows keeps others from reading what is locked; this byte is past everything that is ever written.
LOCKED_BYTE = 1 << 30
COMMAND_LENGTH = 60

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What the system says of a lock that somebody else has (the last one on Windows)."""


def take_lock(folder: Path) -> BinaryIO | None:
    """Lock a run folder for this program until the returned file is closed; None if another program holds it."""
    return _lock(folder / LOCK_FILE)


def drop_lock(folder: Path, file: BinaryIO) -> None:
    """Let the folder go, and leave nothing of the lock."""
    _drop(folder / LOCK_FILE, file)


def is_at_work(folder: Path) -> bool:
    """Whether a program is at work on a run folder; so it is where that cannot be told. Leaves the folder as it is,
    but for the lock file of a program that was killed.
    """
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        file = take_lock(folder)
    except OSError:
        return True
    if file is not None:
        drop_lock(folder, file)
    return file is None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Work on a run folder that nobody else works on. Raises DataError, nothing touched, if somebody does."""
    try:
        file = take_lock(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be locked ({error.strerror or error}); nothing was touched. Work on a copy of it in a "
            "folder you may write to."
        ) from error
    if file is None:
        raise DataError(f"{folder}: a program is still at work on this run; nothing was touched. Stop it first.")
    try:
        yield
    finally:
        drop_lock(folder, file)


@contextmanager
def instruments_locked(addresses: Sequence[str]) -> Iterator[None]:
    """Keep other programs of this user on this machine from driving these instruments.

    addresses: what their drivers call them; one named twice is locked once. Raises Refused naming the instrument, who
    holds it and since when; nothing was connected.
    """
    with contextlib.ExitStack() as stack:
        for address in sorted(set(addresses)):
            stack.enter_context(_instrument_locked(address))
        yield


@contextmanager
def _instrument_locked(address: str) -> Iterator[None]:
    try:
        path = lock_folder() / f"{_words(address)}-{sha256(address.encode()).hexdigest()[:12]}.lock"
        file = _lock(path)
    except OSError as error:
        raise Refused(
            f"devices: no lock for {address} can be made ({error}), so another program might drive it as well; nothing "
            "was started. Set TMPDIR to a folder of your own."
        ) from error
    if file is None:
        raise Refused(
            f"devices: {address} is in use by {_holder(path)}; nothing was started. Wait until that has ended, or "
            "stop it."
        )
    try:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:COMMAND_LENGTH]
        note = {"device": address, "pid": os.getpid(), "since": f"{utc_now():%Y-%m-%d %H:%M:%S UTC}", "what": command}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(note).encode())
        file.flush()
        yield
    finally:
        _drop(path, file)


def _holder(path: Path) -> str:
    """Who holds a lock, as far as can be told: whoever does may have taken it just now."""
    try:
        note = json.loads(path.read_bytes())
        return f"process {note['pid']} ({note['what']}) since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another program"


def _words(address: str) -> str:
    """An address as far as a file name can hold it; a digest makes it unique."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", address).strip("-.")[-60:]


def lock_folder() -> Path:
    """Where instruments are locked: a folder of this user among the temporary files, the same for all programs."""
    user = str(os.getuid()) if sys.platform != "win32" else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"credline-{_words(user)}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if sys.platform != "win32":
        about = folder.lstat()
        if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
            raise OSError(f"{folder} belongs to somebody else")  # who could make us overwrite files of ours
    return folder


def _lock(path: Path) -> BinaryIO | None:
    """Open and lock a file; None if it is locked already."""
    while True:
        file = path.open("a+b")
        try:
            if sys.platform == "win32":
                import msvcrt

                file.seek(LOCKED_BYTE)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in HELD:
                return None
            raise  # a file system that knows no locks says so; that is no other program
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()  # who held it deleted it after we had opened it: a lock on that file keeps nobody away


def _drop(path: Path, file: BinaryIO) -> None:
    if sys.platform == "win32":  # an open file cannot be deleted there, not even by its owner
        file.close()
        with contextlib.suppress(OSError):
            path.unlink()
    else:
        path.unlink(missing_ok=True)
        file.close()
