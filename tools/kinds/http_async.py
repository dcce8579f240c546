"""Kind `http` with an upstream that only starts the work: start it, keep its id, ask until it is done.

The start is the side effect. Once the upstream's id for the work is kept with the job, an attempt after a lost worker
asks on where the last one stopped and does not start again, also where the tool may not be repeated.
"""

import asyncio
import logging
from asyncio import sleep
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from lib import redact
from lib.fetch import Inbound
from tools.errors import ToolError, UpstreamError
from tools.kinds.http_config import Asynchronous, Config, Method
from tools.kinds.http_request import build, secrets_of
from tools.kinds.http_response import Scrubber, complaint, document, retry_after, search
from tools.kinds.http_send import send, understood
from tools.values import Call, Result, Resumable

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
    work = _Work(call=call, connection=connection, asynchronous=call.tool.config.asynchronous)
    job = call.report if isinstance(call.report, Resumable) else None
    kept = job.upstream if job else None
    if kept is None:
        answer = await work.start()
        if (result := await work.heard(answer)) is not None:
            return result
        name = work.name_in(answer)
    else:
        name = kept["id"]
    try:
        if job is not None and kept is None:
            await job.keep({"id": name})
        return await _followed(work, name)
    except asyncio.CancelledError:
        if job is None or not job.handed_back:
            await work.stop(name)
        raise


async def _followed(work: "_Work", name: str | int) -> Result:
    failures, pause = 0, work.asynchronous.every
    while True:
        await sleep(pause)
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
    """One piece of work at the upstream, and the requests about it."""

    call: Call
    connection: "LiveConnection"
    asynchronous: Asynchronous

    @property
    def _scrubber(self) -> Scrubber:
        return Scrubber(secrets=secrets_of(self.connection))

    async def start(self) -> Any:
        """Send the tool's own request; its answer's JSON."""
        call = self.call
        return await self.read(await send(call, build(call, self.connection, timeout=call.tool.timeout)))

    async def read(self, inbound: Inbound) -> Any:
        """The JSON of an answer; raises the ToolError that its status means."""
        return await understood(document, inbound, self.call.tool, self._scrubber)

    def name_in(self, answer: Any) -> str | int:
        """What the upstream calls the work, by its first answer."""
        found = self._found("id", answer)
        if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
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
                f"The upstream could not finish it: its state is {redact.text(status)!r}.{why}\n"
                "Mend what it names and call again, or tell an admin of this tenant."
            )
        progress, total = self._found("progress", answer), self._found("total", answer)
        if _is_number(progress):
            await self.call.report.progress(progress, total if _is_number(total) else None, said or None)
        return None

    async def asked(self, name: str | int) -> Inbound | UpstreamError:
        """An answer about the work, or an error that may pass."""
        call = self._about(name, method="GET", path=self.asynchronous.poll)
        try:
            inbound = await send(call, build(call, self.connection, timeout=_ANSWER_SECONDS))
        except UpstreamError as problem:
            if problem.reason == "result_too_large":
                raise
            return problem
        passing = inbound.status >= 500 or inbound.status in _MAY_PASS
        if passing and call.tool.config.verdict(inbound.status) is None:
            return complaint(inbound, call.tool, self._scrubber)
        return inbound

    async def stop(self, name: str | int) -> None:
        """Tell the upstream to stop, if that is configured. What goes wrong is logged: the call ends anyway."""
        cancel = self.asynchronous.cancel
        if cancel is None:
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

    def _found(self, field: str, answer: Any) -> Any:
        expression = self.asynchronous.expressions.get(field)
        return search(expression, answer) if expression is not None else None

    def _said(self, answer: Any) -> str:
        said = self._found("message", answer)
        return redact.text(said) if isinstance(said, str) else ""


def _word(status: Any) -> str:
    """A state as a config spells it; JSON's words for what is no text."""
    return status if isinstance(status, str) else orjson.dumps(status).decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
