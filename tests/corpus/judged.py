"""Whether the hub notices a case, by class, asked of what production calls. What counts is said in each file of cases,
and for people in docs/reference/attacks.md."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from jobs import intent
from lib.detect import attacks
from lib.detect.disguise import invisible
from policy.decide import decide
from policy.rules import Rules, from_yaml
from policy.values import Facts, Subject
from tenants.caller import Caller
from tests.callers import UMA
from tests.corpus.written import Kind
from tests.policy.judging import NOON
from tests.tools.scanned import scanned
from tests.tools.upstream import make_tool
from tools import clean, inspection, outcome
from tools.calls import Ready
from tools.catalog import LiveConnection, LiveTool, cleaner_of
from tools.cleaning import Surroundings, surroundings
from tools.manifest import destination_of, manifest, manifest_hash
from tools.models import Connection, Tool
from tools.scan import scan, stopping
from tools.values import ABSENT, Block, Embedded, Origin, ResourceLink, Result, Text

_SUSPECT: Final = "- {name: Nothing that looks like an attack, effect: deny, found: [any]}"
_ALLOWED: Final = """
- {name: The tool as it was, priority: 200, effect: allow, what: {tools: [lookup]}}
- {name: Nothing else, priority: 100, effect: deny}
"""


def _poisoning(case: Mapping[str, Any], kind: Kind) -> bool:
    return bool(stopping(scan(scanned(dict(case))), "warning"))


def _results(case: Any, kind: Kind) -> bool:
    """An attack has to be marked or taken out as what it is; of the harmless nothing may be touched."""
    removed = clean.clean(_untrusted(), _result(case)).removed
    counts = case.get("counts", ["instructions"]) if isinstance(case, dict) else ["instructions"]
    return bool(removed) if case in kind.harmless else not removed.keys().isdisjoint(counts)


def _links(case: Any, kind: Kind) -> bool:
    removed = clean.clean(_untrusted("*.acme.example"), _result(case)).removed
    return bool(removed) if case in kind.harmless else not removed.keys().isdisjoint({"links", "active"})


def _arguments(case: Any, kind: Kind) -> bool:
    given = dict(case) if isinstance(case, dict) else {"text": case}
    tool = _inspected()
    return not decide(UMA, tool.subject, _facts(given, inspection.found(tool, given)), _rules(_SUSPECT)).runs


def _exfiltration(case: Mapping[str, Any], kind: Kind) -> bool:
    given = {name: value for name, value in case.items() if name != "tool"}
    tool = _strict(case["tool"], json.dumps(kind.around["tools"][case["tool"]]))
    if outcome.check_arguments(tool, given) is not None:
        return True
    facts = _facts(given, inspection.found(tool, given))
    return not decide(UMA, tool.subject, facts, _rules(kind.around["rules"])).runs


def _deputy(case: Mapping[str, Any], kind: Kind) -> bool:
    given = case["tool"]
    subject = Subject(
        name=given["name"],
        scopes=frozenset(given.get("scopes", ())),
        tags=frozenset(given.get("tags", ())),
        traits=frozenset(given.get("traits", ())),
        kind="http",
        pin=given.get("pin", "v1"),
    )
    facts = replace(
        _facts(case.get("arguments", {})), gained=case.get("gained", ""), address=case.get("address", "192.0.2.7")
    )
    return not decide(
        _caller(case), subject, facts, _rules(kind.around["rules"], tuple(kind.around["pins"].items()))
    ).runs


def _caller(case: Mapping[str, Any]) -> Caller:
    given = {"scopes": ("tickets.read", "tickets.write")} | case.get("caller", {})
    scopes = frozenset(given.pop("scopes"))
    reach = frozenset(given.pop("reach", ())) | {"tickets.read", "tickets.write", "tickets.purge"}
    return replace(UMA, scopes=scopes, reach=reach, **given)


def _rug_pull(case: Mapping[str, Any], kind: Kind) -> bool:
    """The rules allow the tool as it was when they were published."""
    before, after = _pin(kind.around["tool"]), _pin(kind.around["tool"] | case["to"])
    subject = Subject(name="lookup", scopes=frozenset(), kind="http", pin=after)
    return not decide(UMA, subject, _facts({}), _rules(_ALLOWED, (("lookup", before),))).runs


def _pin(given: Mapping[str, Any]) -> str:
    fields = dict(given)
    told = scanned(fields).manifest
    base_url = fields.pop("base_url", "") or fields.pop("destination")
    connection = Connection(base_url=base_url, **fields.pop("connection", {})) if base_url else None
    for name in ("properties", "output", "schema", "destination"):
        fields.pop(name, None)
    tool = Tool(
        **{"destructive": False, "kind": "http", "connection": connection, **fields},
        input_schema=told["inputSchema"],
        output_schema=told.get("outputSchema"),
    )
    return manifest_hash(manifest(tool), scopes=tool.scopes, destination=destination_of(tool))


def _disguise(case: Mapping[str, Any], kind: Kind) -> bool:
    match case["at"]:
        case "manifest":
            return _poisoning({name: one for name, one in case.items() if name != "at"}, kind)
        case "result":
            return bool(clean.clean(_untrusted(), Result.of_text(case["text"])).removed)
        case "arguments":
            return _arguments(case["value"], kind)
        case _:
            return _has_unseen(case["value"]) if case in kind.harmless else _is_told(case["value"])


def _is_told(value: str) -> bool:
    """Whether the question to a person keeps the argument within its line, with nothing in it that nobody sees."""
    said = _question(value)
    plain = f'- text: "{value}"' in said.split("\n")
    return sum(line.startswith("- ") for line in said.splitlines()) == 1 and not list(invisible(said)) and not plain


def _has_unseen(value: str) -> bool:
    return "[U+" in _question(value)


def _question(value: str) -> str:
    tool = make_tool(None, {"function": "echo"}, kind="function")
    ready = Ready(id=uuid.uuid4(), caller=UMA, tool=tool, arguments={"text": value}, origin=Origin(via="mcp"))
    return intent.message(intent.intent_of(ready))


JUDGES: Final[Mapping[str, Callable[[Any, Kind], bool]]] = {
    "arguments": _arguments,
    "deputy": _deputy,
    "disguise": _disguise,
    "exfiltration": _exfiltration,
    "links": _links,
    "poisoning": _poisoning,
    "results": _results,
    "rug_pull": _rug_pull,
}
"""Whether a case is noticed: right for an attack, a false alarm for a harmless one."""


@cache
def _inspected() -> LiveTool:
    """Asks for every detector, and is of high risk."""
    every = sorted(attacks.DETECTORS)
    return make_tool(None, {"function": "echo"}, kind="function", inspect=every, high_risk=True)


@cache
def _strict(name: str, properties: str) -> LiveTool:
    """The same, which takes only these arguments."""
    every = sorted(attacks.DETECTORS)
    schema = {"type": "object", "properties": json.loads(properties), "additionalProperties": False}
    return make_tool(
        None, {"function": "echo"}, kind="function", name=name, inspect=every, high_risk=True, input_schema=schema
    )


@cache
def _untrusted(*link_hosts: str) -> LiveTool:
    """Answers with what others wrote, from api.acme.example."""
    around = surroundings(link_hosts, ()) if link_hosts else Surroundings()
    connection = LiveConnection(
        id=1,
        name="Shop",
        base_url="https://api.acme.example/v1",
        auth="none",
        auth_name="",
        username="",
        secret="",
        allow_hosts=frozenset(),
    )
    made = make_tool(connection, {"path": "/orders"})
    return replace(made, cleaner=cleaner_of(made, connection, around))


@cache
def _rules(written: str, pins: tuple[tuple[str, str], ...] = ()) -> Rules:
    return Rules(from_yaml(written), number=1, pins=dict(pins))


def _facts(arguments: Mapping[str, Any], found: frozenset[str] = frozenset()) -> Facts:
    return Facts(arguments=arguments, at=NOON, address="192.0.2.7", found=found)


def _result(case: Any) -> Result:
    """A text; or `text`, `blocks` of text, `link`, `embedded` or `structured`, and `error`."""
    given = case if isinstance(case, dict) else {"text": case}
    blocks: list[Block] = [Text(text=one) for one in given.get("blocks", [])]
    blocks += [Text(text=given["text"])] if "text" in given else []
    blocks += [ResourceLink(**given["link"])] if "link" in given else []
    blocks += [Embedded(mime_type="text/plain", **given["embedded"])] if "embedded" in given else []
    return Result(content=tuple(blocks), structured=given.get("structured", ABSENT), is_error=given.get("error", False))
