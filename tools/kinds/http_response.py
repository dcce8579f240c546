"""From an answer to a Result, or to an error that teaches. Pure. Echoed credentials are taken out of both; what stands
for them is counted where results are cleaned."""

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from lib import redact
from lib.detect.known import STAND_IN
from lib.fetch import Inbound
from tools.errors import Misconfigured, ToolError, UpstreamError, UpstreamUnavailable
from tools.kinds.http_config import SAFE_METHODS, Config, Failure
from tools.values import Audio, Image, Result

if TYPE_CHECKING:
    from tools.catalog import LiveTool

_JSON_TYPE = re.compile(r"(?:application|text)/(?:[^;]+\+)?json")
_TEXT_TYPE = re.compile(
    r"text/.+|.+\+(?:xml|yaml)|application/(?:xml|yaml|x-yaml|toml|javascript|graphql|x-ndjson|x-www-form-urlencoded)"
)
# The fields of RFC 9457 and RFC 6749, and custom. `error` alone is often a bare code, so what explains it goes first.
_MESSAGE_FIELDS = ("detail", "message", "error_description", "error", "errors", "title")
_MOST_SAID = 1000
_MAY_PASS = frozenset({408, 425, 429})
"""Statuses below 500 that say "not now"."""


@dataclass(frozen=True, kw_only=True)
class Scrubber:
    """Takes a Connection's secrets, in every spelling, out of what an upstream said."""

    secrets: tuple[str, ...]

    def text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, STAND_IN)
        return text

    def value(self, value: Any) -> Any:
        """The same for a JSON value, keys included."""
        # Written out again its escapes are known, so one search tells whether the slow walk is needed at all.
        try:
            written = orjson.dumps(value)
        except orjson.JSONEncodeError:
            raise UpstreamError(
                "The upstream's answer is nested too deeply to be passed on. Ask for less, or tell an admin."
            ) from None
        if any(orjson.dumps(secret)[1:-1] in written for secret in self.secrets):
            return self._walked(value)
        return value

    def _walked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._walked(item) for item in value]
        if isinstance(value, dict):
            return {self.text(name): self._walked(item) for name, item in value.items()}
        if type(value) in {int, float} and str(value) in self.secrets:
            return STAND_IN
        return value


def read(inbound: Inbound, tool: "LiveTool", scrubber: Scrubber) -> Result:
    """What the model gets for an answer; raises the ToolError it gets instead when the status means failure."""
    if _heeded(inbound, tool, scrubber) == "empty" or not inbound.body:
        return _empty(inbound.status, tool)
    return _body(inbound, tool.config, scrubber)


def document(inbound: Inbound, tool: "LiveTool", scrubber: Scrubber) -> Any:
    """The JSON of an answer, as it came; raises the ToolError that its status means instead."""
    _heeded(inbound, tool, scrubber)
    return scrubber.value(_json(inbound))


def acknowledgement(inbound: Inbound, tool: "LiveTool", scrubber: Scrubber) -> Any:
    """The same for an answer that need not say anything; None when it is no JSON."""
    _heeded(inbound, tool, scrubber)
    try:
        return scrubber.value(_json(inbound))
    except UpstreamError:
        return None


def _heeded(inbound: Inbound, tool: "LiveTool", scrubber: Scrubber) -> str:
    """`ok` or `empty`, by the status; raises what any other status means."""
    config: Config = tool.config
    verdict = config.verdict(inbound.status)
    if isinstance(verdict, Failure):
        raise UpstreamError(verdict.error)
    if verdict is None:
        raise complaint(inbound, tool, scrubber)
    return verdict


def _empty(status: int, tool: "LiveTool") -> Result:
    text = f"The answer is empty (status {_named(status)})."
    return Result.of_data(None) if tool.output is not None else Result.of_text(text)


def _body(inbound: Inbound, config: Config, scrubber: Scrubber) -> Result:
    kind = _content_type(inbound).get_content_type()
    if config.expression is not None:
        return Result.of_data(search(config.expression, scrubber.value(_json(inbound))))
    if config.response == "json" or (config.response == "auto" and _JSON_TYPE.fullmatch(kind)):
        return Result.of_data(scrubber.value(_json(inbound)))
    if config.response == "text" or _TEXT_TYPE.fullmatch(kind):
        return Result.of_text(scrubber.text(_text(inbound)))
    if kind.startswith("image/"):
        return Result(content=(Image(data=base64.b64encode(inbound.body).decode(), mime_type=kind),))
    if kind.startswith("audio/"):
        return Result(content=(Audio(data=base64.b64encode(inbound.body).decode(), mime_type=kind),))
    if kind == _UNSAID:
        return _guess(inbound, scrubber)
    raise _unreadable(kind, len(inbound.body))


_UNSAID = "x-unsaid/x-unsaid"


def _content_type(inbound: Inbound) -> Message:
    """The Content-Type header as the standard library parses it (RFC 2045)."""
    message = Message()
    message["Content-Type"] = inbound.headers.get("Content-Type") or _UNSAID
    return message


def _json(inbound: Inbound) -> Any:
    charset = _content_type(inbound).get_content_charset("utf-8")
    try:
        if charset in {"utf-8", "us-ascii"}:
            return orjson.loads(inbound.body.removeprefix(b"\xef\xbb\xbf"))
        return orjson.loads(_text(inbound))
    except orjson.JSONDecodeError:
        raise UpstreamError(
            f"The upstream's answer is not JSON, though this tool expects it (status {_named(inbound.status)}). "
            "Calling again will likely give the same; tell an admin of this tenant."
        ) from None


def _text(inbound: Inbound) -> str:
    charset = _content_type(inbound).get_content_charset("utf-8")
    try:
        return inbound.body.decode(charset, errors="replace")
    except (LookupError, UnicodeError):  # no such charset, or one that is not a text encoding
        return inbound.body.decode(errors="replace")


def _guess(inbound: Inbound, scrubber: Scrubber) -> Result:
    """Without a content type: JSON, or else text when it is plainly UTF-8."""
    try:
        return Result.of_data(scrubber.value(orjson.loads(inbound.body)))
    except orjson.JSONDecodeError:
        pass
    try:
        text = inbound.body.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        raise _unreadable("unknown", len(inbound.body))
    return Result.of_text(scrubber.text(text))


def _unreadable(kind: str, size: int) -> ToolError:
    return ToolError(
        f"The upstream answered with a file of type {redact.text(kind)} ({size} bytes), which no model can read. "
        "Ask for something in text, JSON, an image or audio.",
        reason="unreadable_result",
    )


def search(expression: ParsedResult | None, value: Any) -> Any:
    """What a compiled expression finds; the value itself without one. Raises Misconfigured where it does not fit."""
    if expression is None:
        return value
    try:
        return expression.search(value)
    except JMESPathError:
        # The library quotes the data in its message, so the message stays here.
        raise Misconfigured(
            "The upstream's answer does not have the shape that this tool's JMESPath expression expects. "
            "Calling again will likely give the same; tell an admin of this tenant."
        ) from None


def complaint(inbound: Inbound, tool: "LiveTool", scrubber: Scrubber) -> UpstreamError:
    """An error with the status, a bounded and redacted piece of what the upstream said, and what to do."""
    said = _said(inbound, scrubber, tool.hidden)
    quoted = f" It said: {said}" if said else ""
    advice = _advice(inbound.status, retry_after(inbound.headers))
    if inbound.status >= 500 and not may_repeat(tool):
        advice = f"It may have taken effect all the same; check before calling again. {advice}"
    passes = inbound.status >= 500 or inbound.status in _MAY_PASS
    complaint_of = UpstreamUnavailable if passes else UpstreamError
    return complaint_of(f"The upstream answered {_named(inbound.status)}.{quoted}\n{advice}")


def _said(inbound: Inbound, scrubber: Scrubber, hidden: frozenset[str]) -> str:
    kind = _content_type(inbound).get_content_type()
    if kind == "text/html" or not (_JSON_TYPE.fullmatch(kind) or _TEXT_TYPE.fullmatch(kind)):
        return ""
    try:
        value = scrubber.value(orjson.loads(inbound.body))
    except orjson.JSONDecodeError:
        return quoted(scrubber.text(_text(inbound)).strip())
    said = redact.preview(_message_in(value), hidden=hidden)
    text = said if isinstance(said, str) else orjson.dumps(said).decode()
    text = text.replace(STAND_IN, redact.HIDDEN)  # of which a half tells nothing
    return _counted(text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…")


def quoted(said: str) -> str:
    """The beginning of what an upstream said, for an error."""
    return _counted(redact.text(said.replace(STAND_IN, redact.HIDDEN)))


def _counted(shown: str) -> str:
    """What was taken out by its shape or the name of its field is counted like the credentials; so is what the
    upstream itself gave as such."""
    return shown.replace(redact.HIDDEN, STAND_IN)


def _message_in(value: Any) -> Any:
    """The part of an error document that is meant to be read, or all of it."""
    while isinstance(value, dict):
        found = next((value[name] for name in _MESSAGE_FIELDS if value.get(name)), None)
        if found is None:
            break
        value = found
    return value


def _advice(status: int, wait: float | None) -> str:
    if wait is not None:
        return f"Try again in {max(1, math.ceil(wait))} s."
    if status in {408, 425, 429} or status >= 500:
        return "Try again later; if it stays, tell an admin of this tenant."
    if status in {401, 403, 407}:
        return (
            "It does not accept the hub's credentials, or they may not do this. "
            "Calling again will not help; tell an admin of this tenant."
        )
    if status in {404, 410}:
        return "What the arguments name is not there. Check the identifiers and call again."
    if status in {409, 412}:
        return "It clashes with how things are now. Look at the present state before calling again."
    if status < 400:
        return "This tool does not follow it there. Tell an admin of this tenant."
    return "Mend the arguments by what it said and call again."


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def may_repeat(tool: "LiveTool") -> bool:
    """Whether a request of this tool can be sent twice without doing more than once."""
    return tool.config.method in SAFE_METHODS or tool.idempotent


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the Retry-After header, given in seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return None
    # RFC 9110, 5.6.7: an HTTP date is UTC, also in the obsolete form that does not say so.
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
