"""An authenticator app: time-based one-time passwords as RFC 6238 says, not as the hub computes them."""

import base64
import hmac
import struct
import time


def code_of(secret: str, *, steps: int = 0) -> str:
    """The six digits an app shows for a secret in base32 now, or so many steps of 30 seconds later."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
