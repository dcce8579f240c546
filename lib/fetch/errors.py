"""What can go wrong with an outbound exchange.

Messages are safe to show to a model or to log: they name a host and port, never a path, a query string, a header
or a body, because any of those may carry a credential.
"""


class FetchError(Exception):
    """An outbound exchange that gave no usable answer.

    `sent` is False only when it is certain that no byte of the request left the hub, so that repeating it is safe
    whatever its method.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Blocked(FetchError):
    """The hub refused to go there: scheme, host, address or header. The message says what an admin can change."""


class TimedOut(FetchError):
    """The whole exchange, redirects and body included, took longer than `Outbound.timeout`."""


class TooLarge(FetchError):
    """The decoded body is longer than `Outbound.max_bytes`."""


class Unreachable(FetchError):
    """No answer: name resolution, connection, TLS, or an answer that is not HTTP."""
