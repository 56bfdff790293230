"""The beam blanker through a connection of its own to Instamatic's TEM server, for the watchdog.

`drivers.contract.SecondConnection` names `blank_beam`; it is called in another process when the one that drives the
instrument is gone or hangs. Blocks, and uses no clock but the time-outs of its socket.
"""

import socket
from typing import Any

from drivers.instamatic.codec import CODECS, Unfinished

TIMEOUT_S = 2.0


def blank_beam(host: str, port: int, protocol: str) -> bool:
    """Blank the beam and read the blanker back, twice: whether it is known to be closed. Raises what goes wrong.

    A server that is left by a client in the middle of a call may give its answer to us: what does not fit is False,
    and the next attempt has its own.
    """
    codec = CODECS[protocol]()
    with socket.create_connection((host, port), TIMEOUT_S) as line:
        line.settimeout(TIMEOUT_S)

        def ask(function: str, *args: Any) -> Any:
            line.sendall(codec.encode({"func_name": function, "args": list(args)}))
            received = b""
            while True:
                data = line.recv(4096)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                received += data
                try:
                    return codec.decode(received)[0]
                except Unfinished:
                    continue

        done = ask("setBeamBlank", True)
        answers = [list(ask("isBeamBlanked")) for _ in range(2)]
    return list(done) == [200, None] and all(closed in ([200, True], [200, 1]) for closed in answers)
