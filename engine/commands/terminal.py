"""A terminal may be closed while a run goes on; what is written to it then is lost, and nothing else is.

Without this an alarm, or the progress line, would fail inside the very code that makes the instrument safe.
"""

import errno
import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = (errno.EIO, errno.EPIPE, errno.EBADF, errno.ENXIO)


class _Outlet(io.FileIO):
    """A file descriptor whose far end may go away. `pipe_too`: a broken pipe is nothing to tell about either."""

    def __init__(self, descriptor: int, *, pipe_too: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._pipe_too = pipe_too

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or lose what cannot be written because nobody is there any more."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE or (error.errno == errno.EPIPE and not self._pipe_too):
                raise
            return memoryview(data).nbytes


def outlive_the_terminal() -> None:
    """Let standard error go on when nobody can read it any more, and standard output when its terminal is closed.

    A broken pipe on standard output is still an error: what reads there wants all of it. On Windows a closed console
    ends its programs in any case.
    """
    if sys.platform == "win32":
        return
    if sys.stderr is sys.__stderr__:
        sys.stderr = _outliving(sys.stderr, pipe_too=True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _outliving(sys.stdout, pipe_too=False)


def _outliving(stream: TextIO | None, *, pipe_too: bool) -> TextIO:
    if stream is None:  # a program started without it
        return io.StringIO()
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(descriptor, pipe_too=pipe_too)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering if isinstance(stream, io.TextIOWrapper) else True,
    )
