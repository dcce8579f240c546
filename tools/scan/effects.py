"""What a tool says that it does, against what it is marked as and what it sends."""

from collections.abc import Iterator, Sequence

from tools.scan import verbs
from tools.scan.names import words
from tools.scan.values import Hit, Place, Scanned, Where
from tools.vocabulary import DELETES, READS, WRITES


def writes_though_read_only(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    """A request that changes things by its very method, or a description that opens with what it does away with."""
    if not _hint(scanned, "readOnlyHint"):
        return
    if scanned.method in {"DELETE", "PUT", "PATCH"}:
        yield _marks(f"It sends {scanned.method}.")
    for place in found:
        if (said := verbs.harm(place.text)) is not None:
            yield Hit(place=place, quote=said)


def may_write_though_read_only(scanned: Scanned, found: Sequence[Place], _: bool) -> Iterator[Hit]:
    if not _hint(scanned, "readOnlyHint"):
        return
    verb = next(iter(words(scanned.manifest["name"])), "")
    if scanned.method == "POST" and verb in WRITES - READS:
        yield _marks(f"It sends POST, and its name says “{verb}”.")
    for place in found:
        if verbs.harm(place.text) is None and (said := verbs.change(place.text)) is not None:
            yield Hit(place=place, quote=said)


def reads_but_deletes(scanned: Scanned, _: Sequence[Place], __: bool) -> Iterator[Hit]:
    """A harmless name or text over a request that does away with something."""
    verb = next(iter(words(scanned.manifest["name"])), "")
    if verb in READS - WRITES and scanned.method in {"DELETE", "PUT", "PATCH"}:
        yield _marks(f"The name says “{verb}”, and it sends {scanned.method}.")
    elif scanned.method == "DELETE" and (told := _told(scanned)):
        yield _marks(f"{told}, and it sends DELETE.")


def reads_but_destructive(scanned: Scanned, _: Sequence[Place], __: bool) -> Iterator[Hit]:
    if not _hint(scanned, "destructiveHint"):
        return
    verb = next(iter(words(scanned.manifest["name"])), "")
    if verb in READS - WRITES - DELETES:
        yield _marks(f"The name says “{verb}”, and it is marked as destructive.")
    elif told := _told(scanned):
        yield _marks(f"{told}, and it is marked as destructive.")


def _told(scanned: Scanned) -> str:
    """How the description says that it only reads, as the beginning of a sentence."""
    text = str(scanned.manifest.get("description") or "")
    if verbs.says_only_reads(text):
        return "The description says that it only reads"
    verb = verbs.opens_with_looking(text)
    return f"The description opens with “{verb}” and tells of no change" if verb else ""


def _hint(scanned: Scanned, name: str) -> bool:
    return bool((scanned.manifest.get("annotations") or {}).get(name))


def _marks(says: str) -> Hit:
    return Hit(place=Place(where=Where.ANNOTATIONS, path="annotations", text=""), quote="", says=says)
