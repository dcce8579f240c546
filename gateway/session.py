"""The id that `initialize` gives out (`Mcp-Session-Id`), of a session with nothing in it.

Several hosts open the stream of `gateway.listen.hear` only where they were given one. Nothing is kept of it here, no
request needs it, and it never ends. It says when it was given and what its host would have been shown then. By that a
stream that opens right after `initialize` is known from one that opens again, whose host may have missed something.
"""

import hashlib
import re
import secrets
import time

from gateway import server
from gateway.reply import Headers
from gateway.visit import Visit

HEADER = "mcp-session-id"
FRESH = 10.0
"""Seconds after `initialize` in which a host opens its stream for the first time."""
_ID = re.compile(r"[0-9a-f]{32}\.([0-9a-f]{1,12})\.([0-9a-f]{32})")


def given(visit: Visit, asked: object) -> Headers:
    """The header that goes with an answer to `initialize`. asked: the revision that the host asked for."""
    digest = _digest(visit, server.agreed(str(asked)))
    return [(HEADER.encode(), f"{secrets.token_hex(16)}.{int(time.time()):x}.{digest}".encode())]


def knows(visit: Visit, version: str) -> bool:
    """Whether a host that opens its stream has initialized only now, and nothing has changed for it since.

    Whoever makes such an id up is told too little, and nobody else.
    """
    found = _ID.fullmatch(visit.headers.get(HEADER, ""))
    if found is None or abs(time.time() - int(found[1], 16)) > FRESH:
        return False
    return found[2] == _digest(visit, version)


def _digest(visit: Visit, version: str) -> str:
    return hashlib.sha256(server.listed(visit, version)).hexdigest()[:32]
