"""Calls that their person has to say yes to: a tool that leaves a line in a file, hosts that can ask, and those that
cannot."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policy import actions
from policy.models import Rule
from tests.cast import Cast
from tests.host import MODERN, Answer, Host
from tools.catalog import subject_of
from tools.models import Tool

_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
FORMS: dict[str, Any] = {_CAPABILITIES: {"elicitation": {"form": {}}}}
LINKS: dict[str, Any] = {_CAPABILITIES: {"elicitation": {"url": {}}}}
NEITHER: dict[str, Any] = {_CAPABILITIES: {}}
YES = {"confirm": {"action": "accept", "content": {}}}
NO = {"confirm": {"action": "decline"}}
LINK = re.compile(r"http://\S+/confirm/([0-9a-f-]{36})/")


@dataclass(frozen=True)
class Noting:
    """A host that calls `note`, and the file that it writes to."""

    host: Host
    path: Path
    meta: dict[str, Any]

    def call(self, text: str = "hello", *, name: str = "note", **more: Any) -> Answer:
        params: dict[str, Any] = {"name": name, "arguments": {"path": str(self.path), "text": text}, **more}
        if self.host.revision == MODERN:
            params["_meta"] = self.meta
        return self.host.request("tools/call", params)

    def state(self, text: str = "hello") -> str:
        """Of a question that the host was told to put."""
        return str(self.call(text).result["requestState"])

    def answer(self, answers: Any, state: str, text: str = "hello") -> Answer:
        return self.call(text, inputResponses=answers, requestState=state)

    def link(self, text: str = "hello") -> str:
        """The path of the page on which this call is asked about."""
        found = LINK.search(self.call(text).text)
        assert found, "no link"
        return f"/confirm/{found[1]}/"

    def by(self, host: Host) -> "Noting":
        return replace(self, host=host)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


def noting(cast: Cast, **fields: Any) -> Tool:
    """A destructive tool of acme's."""
    return cast.tool(cast.acme, "note", **{"read_only": False, "destructive": True, **fields})


def govern(cast: Cast, *rules: dict[str, Any]) -> None:
    """Make these acme's rules, from the next call on."""
    with cast.see(cast.acme):
        for row in Rule.objects.filter(tenant=cast.acme):
            actions.remove_rule(row, actor=cast.adam)
        for one in rules:
            given = {"priority": 100, **one}
            name, priority, effect = (given.pop(part) for part in ("name", "priority", "effect"))
            row = Rule(tenant=cast.acme, name=name, priority=priority, effect=effect, spec=given)
            actions.save_rule(row, actor=cast.adam)
        tools = Tool.objects.filter(tenant=cast.acme, live__isnull=False).select_related("live")
        live = [subject_of(vars(tool.live)) for tool in tools if tool.live is not None]
        actions.publish(cast.acme, actor=cast.olga, tools=live)


def reason_of(answer: Answer) -> str:
    return str(answer.result["_meta"]["mcphub/refusal"]["reason"])
