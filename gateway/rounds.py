"""What is remembered between the rounds of a call that asks (2026-07-28, basic/patterns, multi round-trip requests).

It is the call's `requestState` and goes through the host's hands, so it is sealed, bound to who asked, for what and
until when, and taken once.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from access import once
from lib import db, seal
from lib.ids import uuid7
from policy.values import Refusal
from tools.values import Reply

PATIENCE = 600.0
"""Seconds in which a question must be answered."""
MOST_STATE = 64 * 1024
"""Characters of `requestState` that are looked at."""
_ACTIONS = ("accept", "decline", "cancel")

Bound = list[Any]
"""Whom and what a state is good for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """An earlier round. asked: the keys of a preflight's questions. kept: what was answered before those. confirms: the
    digest of the call that a person was asked to say yes to, empty where it was the preflight that asked."""

    id: str = ""
    asked: Sequence[str] = ()
    kept: Mapping[str, Reply] = field(default_factory=dict)
    confirms: str = ""

    async def spend(self) -> bool:
        """Whether this is the first time that it is used, on any server."""
        return await once.spend(uuid.UUID(self.id), span=PATIENCE)

    async def give_back(self) -> None:
        """For a call that was refused after all: the same answer may be given once more, or else it is asked anew."""
        with suppress(*db.UNREACHABLE):
            await once.give_back(uuid.UUID(self.id))


FIRST = Round()
"""Before anything was asked."""


def sealed(bound: Bound, made: Round) -> str:
    """The `requestState` of a round; it gets an id of its own."""
    kept = {key: [one.action, dict(one.content)] for key, one in made.kept.items()}
    known = {
        "id": str(uuid7()),
        "for": bound,
        "until": time.time() + PATIENCE,
        "asked": [*made.asked],
        "kept": kept,
        "confirms": made.confirms,
    }
    return seal.seal(orjson.dumps(known).decode()).decode()


def read(bound: Bound, params: Mapping[str, Any]) -> Round | Refusal:
    """The round that a call comes back from. It is not used up by that."""
    if (given := params.get("requestState")) is None:
        return FIRST
    if not isinstance(params.get("inputResponses"), dict | None):
        return Refusal(reason="invalid_answer", message="inputResponses must be an object.")
    known = _opened(given)
    if known is None or known["for"] != bound or known["until"] < time.time():
        return stale()
    kept = {key: Reply(action=action, content=content) for key, (action, content) in known["kept"].items()}
    return Round(id=known["id"], asked=known["asked"], kept=kept, confirms=known.get("confirms", ""))


def stale() -> Refusal:
    return Refusal(
        reason="invalid_answer",
        message="The requestState is not one of ours for this call, was used before or has run out. "
        "Call again without it.",
    )


def replies(params: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Reply]:
    """What answers a question that was asked; everything else is passed over, and what is missing is asked again."""
    given = params.get("inputResponses")
    given = given if isinstance(given, dict) else {}
    return {key: reply for key in keys if (reply := _reply(given.get(key))) is not None}


def _opened(state: Any) -> Any:
    if not isinstance(state, str) or len(state) > MOST_STATE:
        return None
    try:
        return orjson.loads(seal.unseal(state.encode()))
    except (seal.SealError, ValueError):
        return None


def _reply(response: Any) -> Reply | None:
    if not isinstance(response, dict) or response.get("action") not in _ACTIONS:
        return None
    content = {} if response.get("content") is None else response["content"]
    if not isinstance(content, dict):
        return None
    return Reply(action=response["action"], content=content if response["action"] == "accept" else {})
