"""DIALS' programs without their start: a process has all of them loaded, and each call is a fork of it.

To load a program of DIALS takes one to two seconds, and dials.sh calls seventeen. `crystals.py` starts

    DIALS-PYTHON warmdials.py serve FOLDER

and puts FOLDER/bin in front of the PATH: programs of the same names there, a few lines each, hand their arguments,
folder, environment and open files over and end with the exit status that comes back. What runs, and with what, is the
same.
Only the standard library here, for DIALS' Python has no credline.
"""

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

PROGRAMS = (
    *("dials.import", "dials.generate_mask", "dials.apply_mask", "dials.find_spots", "dials.index", "dials.refine"),
    *("dials.integrate", "dials.symmetry", "dials.scale", "dials.export", "dials.version"),
)
PYTHON = "dials.python"
READY = "ready"
CLIENT = """#!{python}
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect({address!r})
    asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(s, [len(asked).to_bytes(8, "little")], [0, 1, 2])
    s.sendall(asked)
    answer = s.recv(4)
sys.exit(int.from_bytes(answer, "little") if len(answer) == 4 else 139)  # no answer: it crashed
"""


def serve(folder: Path) -> None:
    """Load everything, write the programs, and answer until this process is ended."""
    known = {one.name: one for one in entry_points(group="console_scripts") if one.name in PROGRAMS}
    for one in known.values():
        importlib.import_module(one.module)
    for name in ("dxtbx.model.experiment_list", "dials.array_family.flex", "cctbx.miller", "numpy"):
        importlib.import_module(name)
    gc.freeze()
    address = str(folder / "socket")
    (folder / "bin").mkdir()
    for name in (*known, PYTHON):
        path = folder / "bin" / name
        path.write_text(CLIENT.format(python=sys.executable, address=address))
        path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        (folder / READY).touch()
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                _answer(connection, known)
            connection.close()
            _bury()


def _bury() -> None:
    """Take note of children that have ended."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _answer(connection: socket.socket, known: dict[str, EntryPoint]) -> None:
    """In the forked process: run one program, send its exit status, and end."""
    status = 1
    try:
        head, files, _, _ = socket.recv_fds(connection, 8, 3)
        wanted, asked = int.from_bytes(head, "little"), b""
        while len(asked) < wanted:
            asked += connection.recv(wanted - len(asked))
        arguments, cwd, environment = json.loads(asked)
        for file, number in zip(files, (0, 1, 2), strict=True):
            os.dup2(file, number)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        status = _run(arguments, known)
    except BaseException:  # this process has nobody above it to tell
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(status.to_bytes(4, "little"))
        os._exit(0)


def _run(arguments: list[str], known: dict[str, EntryPoint]) -> int:
    name = Path(arguments[0]).name
    try:
        if name != PYTHON:
            sys.argv = arguments
            known[name].load()()
        elif arguments[1] == "-c":
            exec(arguments[2], {"__name__": "__main__"})
        else:
            sys.argv = arguments[1:]
            sys.path.insert(0, str(Path(arguments[1]).resolve().parent))
            runpy.run_path(arguments[1], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "serve":
        sys.exit(__doc__)
    serve(Path(sys.argv[2]))
