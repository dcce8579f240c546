"""Cleaning what comes out of a tool before a model reads it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson

from lib.detect import active, instructions, links, secrets
from lib.schema.validator import is_unicode
from tools.catalog import LiveTool
from tools.cleaning import Cleaner, Step
from tools.threads import Crew
from tools.values import ABSENT, Block, Embedded, Provenance, ResourceLink, Result, Text

_WORDS: Final = {
    "secrets": ("secret", "secrets"),
    "personal": ("piece of personal data", "pieces of personal data"),
    "invisible": ("invisible character", "invisible characters"),
    "active": ("piece of active content", "pieces of active content"),
    "links": ("outside link", "outside links"),
    "instructions": ("instruction", "instructions"),
}
_MUCH = 8192
"""Characters from which on a thread looks through a result."""
_LONG = 262_144
"""Characters from which on that may take some tenths of a second, and no shorter result waits behind it."""
_IN_REMARKS: Final = frozenset({"invisible", "secrets"})
_ANY_NAMES: Final = orjson.OPT_NON_STR_KEYS
_cleaners = Crew("tools.clean", 1)
_cleaners_of_long = Crew("tools.clean, long", 1)
_IN_URI = str.maketrans({" ": "%20", "[": "%5B", "]": "%5D"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """A result as a model may read it. removed: how much of what was taken out or marked, for the ledger.

    reshaped: structured content was changed, so it may no longer fit the output schema. size: its bytes once it is
    settled.
    """

    result: Result
    removed: Mapping[str, int] = field(default_factory=dict)
    reshaped: bool = False
    size: int = 0


async def cleaned(tool: LiveTool, result: Result, *, tenant_id: int) -> Cleaned:
    """As `clean` gives it. Done in a thread when there is much to look at, so that the calls of others go on."""
    if tool.cleaner is None or (size := _size(result)) < _MUCH:
        return clean(tool, result)
    crew = _cleaners if size < _LONG else _cleaners_of_long
    return await crew.run_for(tenant_id, clean, tool, result)


def _size(result: Result) -> int:
    """Characters that are looked at, roughly."""
    try:
        structured = b"" if result.structured is ABSENT else orjson.dumps(result.structured)
    except TypeError:  # which is told elsewhere
        structured = b""
    return len(structured) + sum(map(_length, result.content))


def _length(block: Block) -> int:
    match block:
        case Text(text=text):
            return len(text)
        case Embedded(uri=uri, text=text):
            return len(uri) + len(text or "")
        case ResourceLink(uri=uri, name=name, description=description):
            return len(uri) + len(name) + len(description or "")
        case _:
            return 0


def clean(tool: LiveTool, result: Result) -> Cleaned:
    """Take out what the tool's `clean` says. Images, audio and blobs are left alone."""
    cleaner = tool.cleaner
    if cleaner is None:
        return Cleaned(result=result)
    cleaning = _Cleaning(cleaner)
    structured = result.structured if result.structured is ABSENT else cleaning.structured(result.structured)
    reshaped = bool(cleaning.removed)
    content = tuple(cleaning.block(block) for block in result.content)
    if not cleaning.removed:
        return Cleaned(result=result)
    cleaned = replace(result, content=content, structured=structured)
    return Cleaned(result=cleaned, removed=cleaning.removed, reshaped=reshaped)


def remark(tool: LiveTool, said: Any) -> Any:
    """What a tool says beside its result, a text or what JSON can carry: without secrets, and what nobody sees."""
    if tool.cleaner is None:
        return said
    steps = tuple(step for step in tool.cleaner.steps if step.name in _IN_REMARKS)
    value = said if isinstance(said, str) else orjson.loads(orjson.dumps(said, default=str, option=_ANY_NAMES))
    return _Cleaning(tool.cleaner).walked(_encodable(value) if isinstance(value, str) else value, "", steps)


def labelled(tool: LiveTool, result: Result, removed: Mapping[str, int]) -> Result:
    """The settled result with where it comes from, when that is outside, and what the hub took out of it."""
    if removed and tool.cleaner is not None:
        note = Text(text=_note(tool.cleaner, removed), by_hub=True)
        result = replace(result, content=(*result.content, note))
    if not tool.untrusted:
        return result
    address = tool.connection.base_url if tool.connection is not None else ""
    return replace(result, provenance=_provenance(tool.name, tool.kind, address))


@lru_cache(maxsize=1024)
def _provenance(tool: str, kind: str, address: str) -> Provenance:
    return Provenance(tool=tool, source=links.host_of(address) or kind)


def _note(cleaner: Cleaner, removed: Mapping[str, int]) -> str:
    marked = cleaner.marks & removed.keys()
    did = []
    for verb, names in (("removed", removed.keys() - marked), ("marked", marked)):
        counted = [f"{removed[name]} {_WORDS[name][removed[name] != 1]}" for name in _WORDS if name in names]
        if counted:
            did.append(f"{verb} {' and '.join(filter(None, (', '.join(counted[:-1]), counted[-1])))}")
    return f"[The hub {' and '.join(did)} in this result.]"


def _encodable(text: str) -> str:
    """With question marks for lone surrogates, which no search gets past."""
    return text if text.isascii() or is_unicode(text) else text.encode(errors="replace").decode()


class _Cleaning:
    """One walk over one result."""

    __slots__ = ("_cleaner", "removed")

    def __init__(self, cleaner: Cleaner):
        self._cleaner = cleaner
        self.removed: Counter[str] = Counter()

    def structured(self, value: Any) -> Any:
        """Looked through as it is sent. What cannot be sent is left for `tools.outcome.settle` to refuse."""
        try:
            sent = orjson.dumps(value)
        except TypeError:  # the base of orjson's own error
            return value
        steps = self._due(sent.decode())
        if not steps:
            return value
        walked = self.walked(orjson.loads(sent), "", steps)
        return walked if self.removed else value

    def block(self, block: Block) -> Block:
        if isinstance(block, Text):
            return block if (text := self.text(block.text)) == block.text else replace(block, text=text)
        if isinstance(block, ResourceLink):
            return self._link(block)
        if isinstance(block, Embedded):
            embedded = None if block.text is None else self.text(block.text)
            return replace(block, text=embedded, uri=self._uri(block.uri))
        return block

    def text(self, value: str) -> str:
        """The text as it may be read."""
        value = _encodable(value)
        return self._without(value, self._due(value))

    def _due(self, text: str) -> tuple[Step, ...]:
        """The steps that may find something. One look finds that there is none, mostly."""
        cleaner = self._cleaner
        if not (
            cleaner.sieve.catches(text)
            or cleaner.known.catches(text)
            or (cleaner.links and links.leads_outside(text, cleaner.allowed))
            or (cleaner.instructions and not text.isascii() and instructions.is_disguised(text))
        ):
            return ()
        due = tuple(step for step in cleaner.steps if step.is_suspect(text))
        return cleaner.steps if due and due[0].name == "invisible" else due  # without them it may read differently

    def _without(self, value: str, steps: Iterable[Step]) -> str:
        for step in steps:
            value, count = step.clean(value)
            if count:
                self.removed[step.name] += count
        return value

    def walked(self, value: Any, name: str, steps: tuple[Step, ...]) -> Any:
        """name: of the field that it is in. No deeper than JSON that could be written."""
        if isinstance(value, str):
            if name and self._cleaner.secrets and secrets.is_secret(name, value):
                self.removed["secrets"] += 1
                return secrets.REMOVED
            return self._without(value, steps)
        if isinstance(value, list):
            return [self.walked(one, name, steps) for one in value]
        if isinstance(value, dict):
            return self._object(value, steps)
        if type(value) in {int, float} and self._cleaner.known.catches(str(value)):
            self.removed["secrets"] += 1
            return secrets.REMOVED
        return value

    def _object(self, value: dict[str, Any], steps: tuple[Step, ...]) -> dict[str, Any]:
        walked: dict[str, Any] = {}
        for name, one in value.items():
            shown = self._without(name, steps)
            if shown in walked:  # two names that were cleaned to the same
                shown = f"{shown} ({len(walked)})"
            walked[shown] = self.walked(one, name, steps)
        return walked

    def _uri(self, uri: str) -> str:
        """Without secrets, and still a URI."""
        cleaned, count = self._cleaner.known.without(uri)
        if self._cleaner.secrets:
            cleaned, found = secrets.without_secrets(cleaned)
            count += found
        if count:
            self.removed["secrets"] += count
        return cleaned.translate(_IN_URI) if count else uri

    def _link(self, block: ResourceLink) -> Block:
        """A link cannot be marked within its address, so one to another host says so beside it, or becomes text."""
        cleaner = self._cleaner
        name, told = self.text(block.name), None if block.description is None else self.text(block.description)
        if cleaner.active and active.runs(block.uri):
            self.removed["active"] += 1
            return Text(text=f"{active.REMOVED} {name}")
        if cleaner.links and not links.stays(block.uri, cleaner.allowed):
            self.removed["links"] += 1
            if "links" not in cleaner.marks:
                return Text(text=f"[link removed: {links.named(block.uri)}] {name}")
            told = f"[outside link] {told or ''}".rstrip()
        return replace(block, uri=self._uri(block.uri), name=name, description=told)
