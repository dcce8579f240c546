"""Asking before a call begins: what a function still needs from the person is asked while its host waits, and added.

    async def who(arguments: dict[str, Any], asking: Preflight) -> dict[str, Any]:
        reply = await asking.ask("user_name", "Who is it for?", {...})
        return {"user_name": reply.content["name"]} if reply.accepted else {}

    @function(preflight=who)
    async def greet(user_name: str) -> str: ...

A preflight is run anew with every answer, so it must not change anything. What it gives is added to the arguments,
which are then judged like any others; hosts that cannot be asked leave it to the model to give them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lib.schema import compile_schema
from tenants.caller import Caller
from tools.values import Question, Reply


class Unanswered(Exception):
    """A preflight asked what has no answer yet."""

    def __init__(self, questions: Mapping[str, Question]):
        super().__init__("asked and not answered yet")
        self.questions = questions


class Preflight:
    """What a preflight asks with."""

    def __init__(self, caller: Caller, replies: Mapping[str, Reply]):
        self.caller = caller
        self._replies = replies

    async def ask(self, key: str, message: str, schema: Mapping[str, Any]) -> Reply:
        """Ask the person behind the call; see `ask_all`."""
        return (await self.ask_all({key: Question(message=message, schema=schema)}))[key]

    async def ask_all(self, questions: Mapping[str, Question]) -> Mapping[str, Reply]:
        """Ask several things at once. Never ask for a secret: hosts show the answers, and models may see them."""
        open_ = {key: one for key, one in questions.items() if not _fits(one, self._replies.get(key))}
        if open_:
            raise Unanswered(open_)
        return {key: self._replies[key] for key in questions}


Check = Callable[[dict[str, Any], Preflight], Awaitable[Mapping[str, Any]]]


async def complete(
    check: Check, arguments: dict[str, Any], caller: Caller, replies: Mapping[str, Reply]
) -> dict[str, Any]:
    """The arguments with what the preflight adds; raises Unanswered with what has to be asked first."""
    return {**arguments, **await check(dict(arguments), Preflight(caller, replies))}


def _fits(question: Question, reply: Reply | None) -> bool:
    if reply is None or not reply.accepted:
        return reply is not None
    return compile_schema(dict(question.schema)).is_valid(dict(reply.content))
