"""What goes wrong inside a tool. A ToolError is read by the model, so its text says what it can do about it."""


class ToolError(Exception):
    """The call failed in a way to tell the model. `str(error)` is the sentence, `reason` the code in the ledger."""

    reason = "tool_error"

    def __init__(self, message: str, *, reason: str | None = None):
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class Misconfigured(ToolError):
    """The tool itself is wrong: its config, its connection, its function. An admin must mend it."""

    reason = "misconfigured"


class UpstreamError(ToolError):
    """The upstream said no, broke, or could not be reached."""

    reason = "upstream_error"


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""

    reason = "upstream_timeout"


class UpstreamUnavailable(UpstreamError):
    """The upstream could not be reached, is too busy or broke: the same may go well a little later."""

    reason = "upstream_unavailable"


_PASSING = frozenset({UpstreamTimeout.reason, UpstreamUnavailable.reason, "timeout", "busy"})


def passing(reason: str) -> bool:
    """Whether a failure with this reason may be gone when the same is tried again."""
    return reason in _PASSING
