"""What a tool says that it does, against what it is marked as and what it sends."""

import re
from collections.abc import Iterator, Sequence

from tools.scan.names import words
from tools.scan.reading import sentence
from tools.scan.values import Hit, Place, Scanned, Where
from tools.vocabulary import DELETES, READS, WRITES

_STARTS = re.compile(
    r"(?:^|[.!?\n]\s*|\b(?:it|this tool|the tool|this)\s+(?:also\s+|then\s+|permanently\s+|will\s+)*)"
    r"(?:permanently\s+|irreversibly\s+|immediately\s+)?"
    r"(?:deletes?|removes|sends|overwrites?|purges?|revokes?|cancels|transfers|uploads|executes|erases?|wipes?"
    r"|destroys?|publishes|refunds|charges|modifies|updates|creates|drops|emails|deploys|remove (?:a|an|the|all)"
    r"|send (?:a|an|the)"
    r"|cancel (?:a|an|the|all)|create (?:a|an|the)|update (?:a|an|the)|transfer (?:a|an|the|money|funds)"
    r"|publish (?:a|an|the)|upload (?:a|an|the))\b",
    re.IGNORECASE,
)
_WITHIN = re.compile(
    r"\b(?:and|then|also)\s+(?:then\s+|also\s+|permanently\s+)?"
    r"(?:deletes|removes|sends|overwrites|purges|revokes|cancels|transfers|uploads|executes|erases|wipes|emails)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|never|nothing|nobody|no|without|neither|nor|cannot|won't|doesn't)\b", re.IGNORECASE)
_READS_ONLY = re.compile(
    r"\b(?:changes? nothing|(?:is|strictly|purely|completely) read[- ]only|only reads?|no side effects?"
    r"|does not (?:change|modify) anything)\b",
    re.IGNORECASE,
)


def writes_though_read_only(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """A request that changes things by its very method, or a description that opens with what it does away with."""
    if not _hint(scanned, "readOnlyHint"):
        return
    if scanned.method in {"DELETE", "PUT", "PATCH"}:
        yield _marks(f"It sends {scanned.method}.")
    for place in found:
        if (said := _said(_STARTS, place.text)) is not None:
            yield Hit(place=place, quote=said)


def may_write_though_read_only(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    if not _hint(scanned, "readOnlyHint"):
        return
    verb = next(iter(words(scanned.manifest["name"])), "")
    if scanned.method == "POST" and verb in WRITES - READS:
        yield _marks(f"It sends POST, and its name says “{verb}”.")
    for place in found:
        if _said(_STARTS, place.text) is None and (said := _said(_WITHIN, place.text)) is not None:
            yield Hit(place=place, quote=said)


def reads_but_deletes(scanned: Scanned, _: Sequence[Place], __: bool) -> Iterator[Hit]:
    """A harmless name over a request that does away with something."""
    verb = next(iter(words(scanned.manifest["name"])), "")
    if verb in READS - WRITES and scanned.method in {"DELETE", "PUT", "PATCH"}:
        yield _marks(f"The name says “{verb}”, and it sends {scanned.method}.")
    elif _READS_ONLY.search(_description(scanned)) and scanned.method == "DELETE":
        yield _marks("The description says that it only reads, and it sends DELETE.")


def reads_but_destructive(scanned: Scanned, _: Sequence[Place], __: bool) -> Iterator[Hit]:
    if not _hint(scanned, "destructiveHint"):
        return
    verb = next(iter(words(scanned.manifest["name"])), "")
    if verb in READS - WRITES - DELETES:
        yield _marks(f"The name says “{verb}”, and it is marked as destructive.")
    elif _READS_ONLY.search(_description(scanned)):
        yield _marks("The description says that it only reads, and it is marked as destructive.")


def _hint(scanned: Scanned, name: str) -> bool:
    return bool((scanned.manifest.get("annotations") or {}).get(name))


def _description(scanned: Scanned) -> str:
    return str(scanned.manifest.get("description") or "")


def _marks(says: str) -> Hit:
    return Hit(place=Place(where=Where.ANNOTATIONS, path="annotations", text=""), quote="", says=says)


def _said(pattern: re.Pattern[str], text: str) -> str | None:
    """The first sentence in which it is said, and not denied."""
    for match in pattern.finditer(text):
        around = sentence(text, match.end() - 1, match.end())
        if not _NOT.search(around):
            return around
    return None
