"""What a job keeps of its content: JSON, sealed. Nothing of it is in any column in clear."""

import json
import sys
from dataclasses import asdict
from typing import Any

import orjson

from lib import seal
from lib.schema.validator import is_unicode
from tools.values import ABSENT, Audio, Block, Embedded, Image, Provenance, ResourceLink, Result, Text

_BLOCKS: dict[str, type[Block]] = {one.__name__: one for one in (Text, Image, Audio, ResourceLink, Embedded)}


class TooLarge(Exception):
    """It has more bytes, or more depth, than is kept."""


def seal_arguments(arguments: dict[str, Any], *, most: int = sys.maxsize) -> bytes:
    """Arguments, or answers of a job's followers. Raises TooLarge beyond `most` bytes of JSON.

    By the standard library, as the tool must get exactly what was sent and checked: orjson has no whole numbers beyond
    64 bits and no lone surrogates.
    """
    try:
        written = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
        if not is_unicode(written):
            written = json.dumps(arguments, separators=(",", ":"))
    except RecursionError:
        raise TooLarge from None
    if len(written.encode()) > most:
        raise TooLarge
    return seal.seal(written)


def unseal_arguments(sealed: bytes | memoryview) -> dict[str, Any]:
    """Raises lib.seal.SealError when no key opens it."""
    found: dict[str, Any] = json.loads(seal.unseal(sealed))
    return found


def seal_result(result: Result) -> bytes:
    """The result is settled (`tools.outcome.settle`), so JSON carries it."""
    return seal.seal(orjson.dumps(_plain(result)).decode())


def unseal_result(sealed: bytes | memoryview) -> Result:
    """Raises lib.seal.SealError when no key opens it."""
    found = orjson.loads(seal.unseal(sealed))
    return Result(
        content=tuple(_BLOCKS[name](**fields) for name, fields in found["content"]),
        structured=found.get("structured", ABSENT),
        is_error=found["is_error"],
        reason=found["reason"],
        provenance=Provenance(**found["provenance"]) if "provenance" in found else None,
    )


def _plain(result: Result) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "content": [(type(block).__name__, asdict(block)) for block in result.content],
        "is_error": result.is_error,
        "reason": result.reason,
    }
    if result.provenance is not None:
        plain["provenance"] = asdict(result.provenance)
    return plain if result.structured is ABSENT else {**plain, "structured": result.structured}
