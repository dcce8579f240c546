"""The description lint: what makes a model choose a tool well, checked on its manifest. Pure.

It reads what a model reads, the sister tools and their number, and how long a host may have to wait. It advises; it
never keeps anybody from publishing.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tools.manifest import estimated_tokens
from tools.models import Runs
from tools.vocabulary import COMMON, DELETES, READS, RESERVED, WRITES

FEWEST, MOST = 5, 15
"""Tools per tenant between which models choose well."""
LONG_TOOL, LONG_LIST = 1500, 10_000
"""Estimated tokens above which a tool, or a tenant's whole list, crowds out the conversation."""
SHORT = 40
LONG_WAIT = 25
"""Seconds after which the first hosts give up on a call."""
_ALIKE = 0.6

Manifest = Mapping[str, Any]


class Level(StrEnum):
    """How much it matters."""

    PROBLEM = "problem"
    WARNING = "warning"
    HINT = "hint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to mend. message: what is so. remedy: what to do."""

    rule: str
    level: Level
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """How a tool's calls run. asynchronous: its upstream only starts the work and is asked again until it is done.
    called_back: it is not asked, but calls back."""

    runs: str = Runs.INLINE
    timeout: float = 20.0
    asynchronous: bool = False
    called_back: bool = False


_AS_IT_COMES = Running()
_WHEN = re.compile(
    r"\buse (?:it|this|when|for|only|to|before|after|whenever)\b|\bcall (?:it|this)\b"
    r"|\bwhen (?:you|the user|a user|asked|somebody)\b|\bto be used\b",
    re.IGNORECASE,
)
_WHEN_NOT = re.compile(
    r"\b(?:do not|don't|does not|never|cannot|not for|not to|instead|rather than|only (?:when|if|for)|unless|except)\b"
    r"|\buse \w+_\w+\b",
    re.IGNORECASE,
)
_EFFECT = re.compile(
    r"\b(?:adds?|appends?|archiv\w+|cancels?|chang\w+|charg\w+|clos\w+|creat\w+|delet\w+|edits?|emails?|insert\w*"
    r"|mov\w+|notif\w+|overwrit\w+|post\w*|publish\w*|records?|refunds?|remov\w+|renam\w+|replac\w+|sav\w+|sends?|sent"
    r"|sets?|starts?|stops?|stor\w+|submit\w*|updat\w+|upload\w*|writ\w+|twice|side effects?)\b",
    re.IGNORECASE,
)
_LOSS = re.compile(
    r"\b(?:delet\w+|overwrit\w+|remov\w+|replac\w+|los[est]\w*|purg\w+|permanent\w*|irreversibl\w+|undone|undo"
    r"|revok\w+|cancel\w*|destr\w+)\b",
    re.IGNORECASE,
)
_NO_CHANGE = re.compile(
    r"\b(?:changes? nothing|read[- ]only|only reads?|no side effects?|does not (?:change|modify))\b", re.IGNORECASE
)
_CHOICES = re.compile(r"\b(?:one of|either)\b|\b\w+, \w+,? or \w+\b", re.IGNORECASE)


def lint(manifest: Manifest, sisters: Sequence[Manifest], running: Running = _AS_IT_COMES) -> list[Finding]:
    """Findings for one tool, the weightiest first. sisters: manifests of the tenant's other listed tools."""
    found = [
        *_reserved(manifest),
        *_name(manifest),
        *_description(manifest),
        *_effects(manifest),
        *_parameters(manifest),
        *_overlap(manifest, sisters),
        *_size(manifest, sisters),
        *_waiting(running),
    ]
    order = list(Level)
    return sorted(found, key=lambda finding: order.index(finding.level))


def _words(name: str) -> list[str]:
    """The words of snake_case, kebab-case, dotted and camelCase names, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


def _name(manifest: Manifest) -> Iterator[Finding]:
    words = _words(manifest["name"])
    if len(words) < 2:
        yield Finding(
            rule="name",
            level=Level.WARNING,
            message=f"The name “{manifest['name']}” is not a verb and a noun.",
            remedy="Name what it does and to what: search_tickets, add_comment.",
        )
    elif words[0] not in READS | WRITES:
        yield Finding(
            rule="name",
            level=Level.HINT,
            message=f"The name starts with “{words[0]}”, which does not read as a verb.",
            remedy="Start with what it does: get, search, create, update, delete.",
        )


def _reserved(manifest: Manifest) -> Iterator[Finding]:
    if manifest["name"] in RESERVED:
        yield Finding(
            rule="reserved",
            level=Level.PROBLEM,
            message=f"The hub has a tool of its own named {manifest['name']}; this one could never be called.",
            remedy="Give it another name; it cannot be published under this one.",
        )


def _waiting(running: Running) -> Iterator[Finding]:
    if running.runs != Runs.INLINE:
        return
    if running.called_back:
        yield Finding(
            rule="long",
            level=Level.PROBLEM,
            message="Its upstream calls back and is not asked, and only a job can be called back.",
            remedy="Choose “as a job” under “How it runs”; or say with asynchronous.poll where to ask.",
        )
    elif running.timeout > LONG_WAIT:
        yield Finding(
            rule="long",
            level=Level.WARNING,
            message=f"It may take {running.timeout:g} s while its host waits, and hosts give up; let it run as a job.",
            remedy=f"Choose “as a job” under “How it runs”, or give it {LONG_WAIT} seconds at the most.",
        )
    elif running.asynchronous:
        yield Finding(
            rule="long",
            level=Level.WARNING,
            message="Its upstream works on after it has answered, and the host waits for all of it.",
            remedy="Choose “as a job” under “How it runs”: a job also goes on after a restart of the hub.",
        )


def _description(manifest: Manifest) -> Iterator[Finding]:
    text = manifest.get("description") or ""
    if len(text) < SHORT:
        yield Finding(
            rule="short",
            level=Level.WARNING,
            message=f"The description has {len(text)} characters; a model learns little from it.",
            remedy="Say in two or three sentences what it does, when to use it, when not, and what it changes.",
        )
    if not _WHEN.search(text):
        yield Finding(
            rule="when",
            level=Level.WARNING,
            message="The description does not say when to use it.",
            remedy="Add a sentence like “Use it when you know the ticket's number.”",
        )
    if not _WHEN_NOT.search(text):
        yield Finding(
            rule="when-not",
            level=Level.WARNING,
            message="The description does not say when not to use it.",
            remedy="Name the limit or the better tool: “Do not use it to answer a customer; use send_reply.”",
        )


def _effects(manifest: Manifest) -> Iterator[Finding]:
    text, hints = manifest.get("description") or "", manifest.get("annotations", {})
    verb = next(iter(_words(manifest["name"])), "")
    if hints.get("readOnlyHint"):
        if verb in WRITES - READS:
            yield Finding(
                rule="effects",
                level=Level.PROBLEM,
                message=f"The name says “{verb}”, but it is marked as changing nothing.",
                remedy="Take the mark “It changes nothing” away, or rename it.",
            )
        elif not _NO_CHANGE.search(text):
            yield Finding(
                rule="effects",
                level=Level.HINT,
                message="It changes nothing, and the description does not say so.",
                remedy="End with “Changes nothing.”: models then use it more freely.",
            )
        return
    if _NO_CHANGE.search(text):
        yield Finding(
            rule="effects",
            level=Level.PROBLEM,
            message="The description says that it changes nothing, but it is not marked so.",
            remedy="Tick “It changes nothing”, or describe what it changes.",
        )
    elif not _EFFECT.search(text):
        yield Finding(
            rule="effects",
            level=Level.WARNING,
            message="It may change something, and the description does not say what.",
            remedy="Name the side effect, who notices it, and what calling it twice does.",
        )
    elif hints.get("destructiveHint") and not _LOSS.search(text):
        yield Finding(
            rule="effects",
            level=Level.WARNING,
            message="It is marked as destructive, and the description does not say what is lost.",
            remedy="Say what it deletes or overwrites, or take the mark away.",
        )
    if verb in DELETES and not hints.get("destructiveHint"):
        yield Finding(
            rule="effects",
            level=Level.PROBLEM,
            message=f"The name says “{verb}”, but it is marked as not destructive.",
            remedy="Tick “It may delete or overwrite”, so that hosts ask before they call it.",
        )


def _parameters(manifest: Manifest) -> Iterator[Finding]:
    schema = manifest.get("inputSchema") or {}
    found = list(properties(schema))
    if silent := [path for path, one in found if not _text(one)]:
        yield Finding(
            rule="parameters",
            level=Level.WARNING,
            message=f"Not described: {_few(silent)}.",
            remedy="Say for each parameter what it means, its unit, and where its value comes from.",
        )
    if loose := [path for path, one in found if _unbounded(one)]:
        yield Finding(
            rule="bounds",
            level=Level.HINT,
            message=f"Without bounds: {_few(loose)}.",
            remedy="Give text a maxLength, pattern, format or enum, numbers a minimum and maximum, lists a maxItems.",
        )
    listed = [path for path, one in found if _CHOICES.search(_text(one)) and _free_text(one)]
    if listed:
        yield Finding(
            rule="enumerations",
            level=Level.WARNING,
            message=f"The description lists the choices of {_few(listed)}, but the schema takes any text.",
            remedy="Put the choices into an enum; models then cannot invent one.",
        )
    if found and schema.get("additionalProperties") is not False:
        yield Finding(
            rule="additional",
            level=Level.HINT,
            message="Unknown arguments are let through.",
            remedy='Set "additionalProperties": false, so that a misspelt argument is said instead of ignored.',
        )


def properties(schema: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every property of a schema with its path, through objects, lists and its own definitions."""
    if not isinstance(schema, Mapping) or depth > 8:
        return
    for name, one in (schema.get("properties") or {}).items() if isinstance(schema.get("properties"), Mapping) else ():
        if isinstance(one, Mapping):
            yield f"{path}{name}", one
            yield from properties(one, f"{path}{name}.", depth + 1)
    yield from properties(schema.get("items"), f"{path}[].", depth + 1)
    definitions = schema.get("$defs")
    if isinstance(definitions, Mapping):
        for name, one in definitions.items():
            yield from properties(one, f"{name}.", depth + 1)


def _text(one: Mapping[str, Any]) -> str:
    """A property's description, when it is the text that JSON Schema asks for."""
    text = one.get("description")
    return text if isinstance(text, str) else ""


def _free_text(one: Mapping[str, Any]) -> bool:
    return one.get("type") == "string" and not one.keys() & {"enum", "const", "pattern", "format"}


def _unbounded(one: Mapping[str, Any]) -> bool:
    kind = one.get("type")
    if kind == "string":
        return _free_text(one) and "maxLength" not in one
    if kind in ("integer", "number"):
        low, high = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
        return not one.keys() & {"enum", "const"} and not (one.keys() & low and one.keys() & high)
    return kind == "array" and "maxItems" not in one


def _overlap(manifest: Manifest, sisters: Sequence[Manifest]) -> Iterator[Finding]:
    text = manifest.get("description") or ""
    for sister in sisters:
        if sister["name"] in text:
            continue  # it says how they differ
        names = _jaccard(_words(manifest["name"]), _words(sister["name"]))
        meant = _cosine(_terms(text), _terms(sister.get("description") or ""))
        if meant >= _ALIKE or (names >= _ALIKE and meant >= _ALIKE / 2):
            yield Finding(
                rule="overlap",
                level=Level.WARNING,
                message=f"It reads much like {sister['name']} ({max(meant, names):.0%} alike).",
                remedy=f"Name {sister['name']} in the description and say which to use when, or merge the two.",
            )


def _terms(text: str) -> Counter[str]:
    return Counter(word for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in COMMON)


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    dot = sum(count * other[word] for word, count in one.items())
    norm = math.sqrt(sum(count**2 for count in one.values()) * sum(count**2 for count in other.values()))
    return dot / norm if norm else 0.0


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    together = {*one, *other}
    return len({*one} & {*other}) / len(together) if together else 0.0


def _size(manifest: Manifest, sisters: Sequence[Manifest]) -> Iterator[Finding]:
    count = len(sisters) + 1
    if not FEWEST <= count <= MOST:
        yield Finding(
            rule="count",
            level=Level.WARNING if count > MOST else Level.HINT,
            message=f"The tenant lists {count} tools; models choose best among {FEWEST} to {MOST}.",
            remedy="Merge tools that differ in one argument, or move a group into a tenant of its own."
            if count > MOST
            else "Nothing to do now; more tools may come.",
        )
    if (own := estimated_tokens(manifest)) > LONG_TOOL:
        yield Finding(
            rule="size",
            level=Level.WARNING,
            message=f"Listing it costs about {own:,} tokens.",
            remedy="Shorten the description, and leave out what the output schema repeats.",
        )
    if (whole := estimated_tokens([manifest, *sisters])) > LONG_LIST:
        yield Finding(
            rule="list-size",
            level=Level.WARNING,
            message=f"The tenant's whole list costs about {whole:,} tokens in every conversation.",
            remedy="Disable what nobody uses, or split the tenant.",
        )


def _few(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:6])
    return f"{shown} and {len(paths) - 6} more" if len(paths) > 6 else shown
