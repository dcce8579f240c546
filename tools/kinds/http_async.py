"""Kind `http` with an upstream that only starts the work: start it, keep its id, ask or be called until it is done.

The start is the side effect. Once the upstream's id for the work is kept with the job, or the upstream has called back,
an attempt after a lost worker goes on where the last one stopped and does not start again, also where the tool may not
be repeated.
"""

import asyncio
import logging
import math
from asyncio import sleep
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from lib.fetch import Inbound
from tools.errors import Misconfigured, ToolError, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tools.kinds.http_config import Asynchronous, Config, Method
from tools.kinds.http_request import build, secrets_of, spellings_of
from tools.kinds.http_response import Scrubber, acknowledgement, complaint, document, quoted, retry_after, search
from tools.kinds.http_send import send, understood
from tools.values import Call, CalledBack, Result, Resumable

if TYPE_CHECKING:
    from tools.catalog import LiveConnection

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 20.0
"""How long one answer about the work is waited for."""
_CANCEL_SECONDS = 5.0
_MOST_FAILURES = 10
"""Times of asking that may fail one after the other, each followed by a longer pause, before the work is given up."""
_LONGEST_PAUSE = 60.0
_MAY_PASS = frozenset({408, 425, 429})


async def run(call: Call, connection: "LiveConnection") -> Result:
    """The result of work that takes the upstream a while; raises ToolError. Cancelled, it tells the upstream to stop,
    where that is configured and nobody else goes on with the work."""
    work = _work(call, connection)
    job = call.report if isinstance(call.report, Resumable) else None
    kept = job.upstream if job else None
    if kept is None:
        answer, lost = await _begun(work)
        if answer is not None and (result := await work.heard(answer)) is not None:
            return result
        name = None if lost else work.name_in(answer)
    else:
        name = kept.get("id")
    try:
        if job is not None and kept is None:
            await job.keep({"id": name})
        return await _followed(work, name)
    except asyncio.CancelledError:
        if job is None or not job.handed_back:
            await work.stop(name)
        raise


def _work(call: Call, connection: "LiveConnection") -> "_Work":
    asynchronous: Asynchronous = call.tool.config.asynchronous
    calls = call.report if asynchronous.callback is not None and isinstance(call.report, CalledBack) else None
    if calls is None and asynchronous.poll is None:
        raise Misconfigured(
            "The upstream of this tool calls back, and only a job can be called back. This call is none, so nothing "
            "was started. Call the tool from a host, where it has to run as a job; its admins can choose that."
        )
    url = calls.callback_url() if calls is not None else ""
    scrubber = Scrubber(secrets=secrets_of(connection) + (spellings_of(url) if url else ()))
    return _Work(
        call=call, connection=connection, asynchronous=asynchronous, calls=calls, callback_url=url, scrubber=scrubber
    )


async def _begun(work: "_Work") -> tuple[Any, bool]:
    """What the upstream says first, and whether its own answer was lost: who has called back meanwhile is at the work,
    and what it called back with is read instead."""
    try:
        return await work.start(), False
    except (UpstreamTimeout, UpstreamUnavailable):
        said = await work.waited(0.0) if work.calls is not None else None
        if said is None:
            raise
        return said, True


async def _followed(work: "_Work", name: str | int | None) -> Result:
    """name: what to ask by; without one, only call-backs say how far it is."""
    if work.asynchronous.poll is None:
        name = None
    failures, pause = 0, work.asynchronous.every
    while True:
        if (said := await work.waited(pause if name is not None else math.inf)) is not None:
            if (result := await work.heard(said)) is not None:
                return result
            failures, pause = 0, work.asynchronous.every
            continue
        if name is None:
            continue
        inbound = await work.asked(name)
        if isinstance(inbound, UpstreamError):
            failures += 1
            if failures >= _MOST_FAILURES:
                raise inbound
            pause = min(work.asynchronous.every * 2**failures, _LONGEST_PAUSE)
            continue
        if (result := await work.heard(await work.read(inbound))) is not None:
            return result
        failures, pause = 0, max(work.asynchronous.every, min(retry_after(inbound.headers) or 0.0, _LONGEST_PAUSE))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """One piece of work at the upstream, the requests about it, and what it calls back with."""

    call: Call
    connection: "LiveConnection"
    asynchronous: Asynchronous
    calls: CalledBack | None
    callback_url: str = field(repr=False)
    scrubber: Scrubber = field(repr=False)

    async def start(self) -> Any:
        """Send the tool's own request; its answer's JSON, or None when it says nothing and need not."""
        call = self.call
        outbound = build(call, self.connection, timeout=call.tool.timeout, callback_url=self.callback_url)
        inbound = await send(call, outbound)
        if self.asynchronous.poll is None:
            return await understood(acknowledgement, inbound, call.tool, self.scrubber)
        return await self.read(inbound)

    async def waited(self, seconds: float) -> Any:
        """What the upstream calls back with, at once when it does; None after so many seconds."""
        if self.calls is None:
            await sleep(seconds)
            return None
        body = await self.calls.called_back(seconds)
        return self.scrubber.value(orjson.loads(body)) if body is not None else None

    async def read(self, inbound: Inbound) -> Any:
        """The JSON of an answer; raises the ToolError that its status means."""
        return await understood(document, inbound, self.call.tool, self.scrubber)

    def name_in(self, answer: Any) -> str | int | None:
        """What the upstream calls the work, by its first answer; who is not asked need not say."""
        found = self._found("id", answer)
        if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
            if self.asynchronous.poll is None:
                return None
            raise UpstreamError(
                "The upstream took the work but gave no id to follow it by, so nobody knows how it ends. It may have "
                "taken effect; check before calling again, and tell an admin of this tenant."
            )
        return found

    async def heard(self, answer: Any) -> Result | None:
        """The result when the answer says that the work is done; reports its progress when it is not. Raises
        UpstreamError when it failed."""
        status, said = _word(self._found("status", answer)), self._said(answer)
        if status in self.asynchronous.done:
            return Result.of_data(self._found("result", answer))
        if status in self.asynchronous.failed:
            why = f" It said: {said}" if said else ""
            raise UpstreamError(
                f"The upstream could not finish it: its state is {quoted(status)!r}.{why}\n"
                "Mend what it names and call again, or tell an admin of this tenant."
            )
        progress, total = self._found("progress", answer), self._found("total", answer)
        if _is_number(progress):
            await self.call.report.progress(progress, total if _is_number(total) else None, said or None)
        return None

    async def asked(self, name: str | int) -> Inbound | UpstreamError:
        """An answer about the work, or an error that may pass."""
        call = self._about(name, method="GET", path=self.asynchronous.poll or "")
        try:
            inbound = await send(call, build(call, self.connection, timeout=_ANSWER_SECONDS))
        except UpstreamError as problem:
            if problem.reason == "result_too_large":
                raise
            return problem
        passing = inbound.status >= 500 or inbound.status in _MAY_PASS
        if passing and call.tool.config.verdict(inbound.status) is None:
            return complaint(inbound, call.tool, self.scrubber)
        return inbound

    async def stop(self, name: str | int | None) -> None:
        """Tell the upstream to stop, if that is configured. What goes wrong is logged: the call ends anyway."""
        cancel = self.asynchronous.cancel
        if cancel is None:
            return
        if name is None:
            log.warning("call %s: the upstream of %s was not stopped: it gave no id", self.call.id, self.call.tool.name)
            return
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            call = self._about(name, method=cancel.method, path=cancel.path)
            try:
                inbound = await send(call, build(call, self.connection, timeout=_CANCEL_SECONDS))
            except ToolError as problem:
                log.warning("call %s: the upstream of %s was not stopped: %s", call.id, call.tool.name, problem.reason)
            else:
                if inbound.status >= 400:
                    log.warning("call %s: the upstream of %s did not stop: %d", call.id, call.tool.name, inbound.status)

    def _about(self, name: str | int, *, method: Method, path: str) -> Call:
        """The call of a request about the work: a path with the work's id and perhaps arguments, and what is sent
        with every request."""
        given: Config = self.call.tool.config
        config = Config(
            method=method, path=path, headers=given.headers, query=given.query, statuses=given.statuses, retries=0
        )
        arguments = {key: self.call.arguments[key] for key in config.variables if key in self.call.arguments}
        tool = replace(self.call.tool, config=config, idempotent=True)
        return replace(self.call, tool=tool, arguments={**arguments, "id": name})

    def _found(self, named: str, answer: Any) -> Any:
        expression = self.asynchronous.expressions.get(named)
        return search(expression, answer) if expression is not None else None

    def _said(self, answer: Any) -> str:
        said = self._found("message", answer)
        return quoted(said) if isinstance(said, str) else ""


def _word(status: Any) -> str:
    """A state as a config spells it; JSON's words for what is no text."""
    return status if isinstance(status, str) else orjson.dumps(status).decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
