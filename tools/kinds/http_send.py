"""Sending the requests of kind `http`: again where that does no harm, and in words a model understands when it fails.

The retries are plain code, because two of their rules are about an answer and a deadline, which retry libraries (they
repeat on exceptions, after a delay of their own) do not know: Retry-After, and not to start what cannot be finished.
"""

import asyncio
import random
from asyncio import sleep
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from lib.fetch import Blocked, FetchError, Inbound, Outbound, TimedOut, TooLarge, Unreachable, fetch
from tools.errors import Misconfigured, ToolError, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tools.kinds.http_config import Config
from tools.kinds.http_response import Scrubber, may_repeat, retry_after
from tools.threads import Crew
from tools.values import Call

if TYPE_CHECKING:
    from tools.catalog import LiveTool

Meaning = TypeVar("Meaning")

_MAY_PASS = frozenset({429, 502, 503, 504})
_FIRST_DELAY = 0.2  # seconds; doubles, and full jitter takes a random part of it
_LEAST_ATTEMPT = 1.0  # seconds; an attempt with less than this left is not worth its wait
_LARGE = 256 * 1024  # bytes; reading more than this would hold up the other calls of the process
_readers = Crew("tools.kinds.http", 4)


async def understood(
    reading: Callable[[Inbound, "LiveTool", Scrubber], Meaning], inbound: Inbound, tool: "LiveTool", scrubber: Scrubber
) -> Meaning:
    """What a reading makes of an answer, in a thread when the answer is large."""
    if len(inbound.body) > _LARGE:
        return await _readers.run(reading, inbound, tool, scrubber)
    return reading(inbound, tool, scrubber)


async def send(call: Call, outbound: Outbound) -> Inbound:
    """The last answer; raises ToolError when there is none. Every attempt and wait is within `outbound.timeout`."""
    config: Config = call.tool.config
    clock = asyncio.get_running_loop().time
    deadline = clock() + outbound.timeout
    for attempt in range(config.retries + 1):
        answer = await _attempt(replace(outbound, timeout=max(deadline - clock(), 0.001)))
        if attempt == config.retries or not _worth_repeating(call, answer):
            break
        delay = _delay(attempt, answer)
        if delay + _LEAST_ATTEMPT > deadline - clock():
            break
        await sleep(delay)
    if isinstance(answer, Inbound):
        return answer
    raise _explained(answer, repeatable=may_repeat(call.tool))


async def _attempt(outbound: Outbound) -> Inbound | FetchError:
    try:
        return await fetch(outbound)
    except FetchError as error:
        return error


def _worth_repeating(call: Call, answer: Inbound | FetchError) -> bool:
    if isinstance(answer, Inbound):
        meant = call.tool.config.verdict(answer.status) in {"ok", "empty"}
        return answer.status in _MAY_PASS and may_repeat(call.tool) and not meant
    # What never left the hub can be sent again, whatever it does.
    return isinstance(answer, Unreachable) and (may_repeat(call.tool) or not answer.sent)


def _delay(attempt: int, answer: Inbound | FetchError) -> float:
    """Seconds: what the upstream asked for, or else growing, with jitter so that callers do not return in step."""
    jitter = random.uniform(0, _FIRST_DELAY * 2**attempt)  # noqa: S311 - it spreads load, it guards nothing
    asked = retry_after(answer.headers) if isinstance(answer, Inbound) else None
    return jitter if asked is None else asked + min(jitter, _FIRST_DELAY)


def _explained(error: FetchError, *, repeatable: bool) -> ToolError:
    """A FetchError for the model. The messages of lib.fetch name host and port and no more, so they are passed on."""
    doubt = "" if repeatable or not error.sent else " It may have taken effect; check before calling again."
    match error:
        case TooLarge():
            advice = "Ask for less: narrower filters, fewer items, or one page."
            return UpstreamError(f"{error} {advice}{doubt}", reason="result_too_large")
        case TimedOut():
            return UpstreamTimeout(f"{error}{doubt} Ask for less, or try again later.")
        case Blocked():
            return Misconfigured(f"{error}{doubt} Tell an admin of this tenant.")
        case _:
            return UpstreamUnavailable(f"{error}{doubt} Try again later; if it stays, tell an admin of this tenant.")
