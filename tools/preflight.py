"""Asking before a call begins: what a function still needs from the person is asked while its host waits, and added.

    async def who(arguments: dict[str, Any], asking: Preflight) -> dict[str, Any]:
        reply = await asking.ask("user_name", "Who is it for?", {...})
        return {"user_name": reply.content["name"]} if reply.accepted else {}

    @function(preflight=who)
    async def greet(user_name: str) -> str: ...

A preflight is run anew with every answer, so it must not change anything. The arguments that it sees fit the schema,
but required ones may be missing. What it gives is added to them, and the whole is then judged like any others; hosts
that cannot be asked leave it to the model to give them. Its steps before and after are those of a call, and its
entries in the ledger too (`tools.calls.complete`).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from lib.schema import SchemaError, compile_schema
from tenants.caller import Caller
from tools.errors import Misconfigured
from tools.values import Call, Question, Reply, Result

LONGEST: Final = 20.0
"""Seconds that a preflight may take at the most, however long its tool may: its host waits for it."""


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


class Round:
    """One time that a preflight runs, with the answers so far; afterwards it has either questions or arguments."""

    def __init__(self, check: Check, replies: Mapping[str, Reply]):
        self._check = check
        self._replies = replies
        self.questions: Mapping[str, Question] = {}
        self.arguments: dict[str, Any] = {}

    async def run(self, call: Call) -> Result:
        """In the shape of a tool's run, as it is run in its place."""
        try:
            added = await self._check(dict(call.arguments), Preflight(call.caller, self._replies))
        except Unanswered as unanswered:
            self.questions = unanswered.questions
            return Result(reason="input_required")
        self.arguments = {**call.arguments, **added}
        return Result()


def _fits(question: Question, reply: Reply | None) -> bool:
    try:
        schema = compile_schema(dict(question.schema))
    except SchemaError as problem:
        raise Misconfigured(f"The tool asks for something that is no schema: {problem}.") from None
    if reply is None or not reply.accepted:
        return reply is not None
    return schema.is_valid(dict(reply.content))
