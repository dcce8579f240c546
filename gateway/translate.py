"""From our values to the wire: results, refusals, and the tool list, for each revision."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.errors import INSUFFICIENT_SCOPE, INVALID_PARAMS, UNAVAILABLE, Fault
from gateway.wire import HANDSHAKE
from jobs.shapes import content_of, provenance_of
from policy.values import Refusal
from tools.values import ABSENT, Result

REFUSAL = "mcphub/refusal"


def result(given: Result, version: str) -> dict[str, Any]:
    """A CallToolResult (MCP server/tools). Up to 2025-11-25 structured content is an object or nothing."""
    wire = _complete(content_of(given), given.is_error, version)
    if given.provenance is not None:
        wire["_meta"] = {"mcphub/provenance": provenance_of(given.provenance)}
    structured = given.structured
    if structured is not ABSENT and (isinstance(structured, Mapping) or version not in HANDSHAKE):
        wire["structuredContent"] = structured
    return wire


def refusal(refused: Refusal, version: str) -> dict[str, Any]:
    """A refusal the model can do something about is a result that says so; the others are raised as a Fault."""
    if refused.reason == "unknown_tool":
        raise fault(refused, INVALID_PARAMS)
    if refused.reason == "insufficient_scope":
        raise Fault(
            code=INSUFFICIENT_SCOPE,
            message=refused.message,
            status=403,
            scopes=refused.scopes,
            data={**shape(refused), "scopes": sorted(refused.scopes)},
        )
    text = {"type": "text", "text": refused.message}
    return {**_complete([text], True, version), "_meta": {REFUSAL: shape(refused)}}


def fault(refused: Refusal, code: int, status: int = 400) -> Fault:
    """A refusal as the error of a message, in the same shape."""
    wait = refused.retry_after
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    return Fault(code=code, message=refused.message, status=status, data=shape(refused), headers=headers)


def unavailable(reason: str, message: str) -> Fault:
    """What is answered while the hub cannot run anything, but may again in a few seconds."""
    return fault(Refusal(reason=reason, message=message, retryable=True, retry_after=5.0), UNAVAILABLE, 503)


def shape(refused: Refusal) -> dict[str, Any]:
    """What programs read of every refusal: in a result's `_meta`, or as the `data` of an error."""
    said: dict[str, Any] = {"reason": refused.reason, "retryable": refused.retryable}
    if refused.retry_after is not None:
        said["retryAfter"] = refused.retry_after
    if refused.ask_at:
        said["askAt"] = refused.ask_at
    return said


def _complete(content: list[dict[str, Any]], is_error: bool, version: str) -> dict[str, Any]:
    """2026-07-28 says of every result whether it is complete; before that there is no such word."""
    marked = {} if version in HANDSHAKE else {"resultType": "complete"}
    return {**marked, "content": content, "isError": is_error}


def listed(manifests: Iterable[Mapping[str, Any]], version: str) -> list[dict[str, Any]]:
    """Manifests as `version` lists them: before 2026-07-28 an output schema describes an object or is left out."""
    return [
        {
            name: value
            for name, value in manifest.items()
            if name != "outputSchema" or version not in HANDSHAKE or value.get("type") == "object"
        }
        for manifest in manifests
    ]
