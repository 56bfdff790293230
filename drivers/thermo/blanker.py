"""The beam blanker through a connection of its own to temscript's server, for the watchdog.

`drivers.contract.SecondConnection` names `blank_beam`; it is called in another process when the one that drives the
instrument is gone or hangs. Blocks, and uses no clock but the time-outs of its socket.
"""

import json
from http.client import HTTPConnection

TIMEOUT_S = 2.0


def blank_beam(host: str, port: int) -> bool:
    """Blank the beam and read the blanker back, twice: whether it is known to be closed. Raises what goes wrong."""
    answers = []
    for method, body in (("PUT", "true"), ("GET", None), ("GET", None)):
        connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            connection.request(method, "/v1/beam_blanked", body, {"Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status not in (200, 204):
                raise ConnectionError(f"the server refused with {answer.status}")
            answers.append(answer.read(1000))
        finally:
            connection.close()
    return all(json.loads(closed) is True for closed in answers[1:])
