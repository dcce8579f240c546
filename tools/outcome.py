"""Judging what goes into a tool and what comes out: arguments, output schema, size. Pure."""

from dataclasses import replace
from typing import Any

import orjson

from audit.models import Outcome
from lib.schema import Problem, Validator, compile_schema
from lib.schema.validator import is_unicode
from policy.values import Refusal
from tools.catalog import LiveTool
from tools.values import ABSENT, Audio, Block, Embedded, Image, ResourceLink, Result, Text


def check_arguments(tool: LiveTool, arguments: dict[str, Any], *, partial: bool = False) -> Refusal | None:
    """A Refusal that lists every problem (path, what was found, what is allowed), or None.

    partial: arguments may be missing; those that are there must fit.
    """
    if tool.input.is_valid(arguments):
        return None
    problems = (_without_required(tool) if partial else tool.input).problems(arguments)
    if not problems:
        return None
    return Refusal(
        reason="invalid_arguments",
        message=f"{tool.name} was not run: its arguments do not fit.\n{_listed(problems)}\nMend them and call again.",
    )


def _without_required(tool: LiveTool) -> Validator:
    schema = tool.manifest["inputSchema"]
    return compile_schema({name: rule for name, rule in schema.items() if name != "required"})


def settle(tool: LiveTool, result: Result, *, whole: bool = False, cleaned: bool = False) -> tuple[Result, int]:
    """The result as the model may have it: it is JSON, keeps the output schema and stays within the bound. And its
    bytes, as content and as structure together.

    whole: it is not cut, as what is too long for the model will be kept elsewhere. cleaned: the hub has changed its
    structure by cleaning it.
    """
    try:
        structured = b"" if result.structured is ABSENT else orjson.dumps(result.structured)
    except orjson.JSONEncodeError as problem:
        return _weighed(_unusable(f"{tool.name} gave a value that JSON cannot carry: {problem}."))
    if structured and not result.content:
        result = replace(result, content=(Text(text=structured.decode()),))
    if not result.is_error and tool.output is not None:
        if result.structured is ABSENT:
            return _weighed(_broken(tool, "it gave no structured result"))
        if not tool.output.is_valid(result.structured):
            why = _listed(tool.output.problems(result.structured, limit=3))
            return _weighed(_unfit(tool, why) if cleaned else _broken(tool, why))
    content = size(result)
    if whole or max(content, len(structured)) <= tool.max_result:  # the structure mostly repeats the content
        return result, content + len(structured)
    return _weighed(_bounded(tool, result, max(content, len(structured))))


def size(result: Result) -> int:
    """Bytes of its content, without what the hub itself says of it."""
    return sum(map(_size, result.content))


def _weighed(result: Result) -> tuple[Result, int]:
    """With its bytes, where it has no structure."""
    return result, size(result)


def of(result: Result) -> Outcome:
    """How the ledger names the end of a call that gave this result."""
    if not result.is_error:
        return Outcome.OK
    return Outcome.TIMEOUT if result.reason in {"timeout", "upstream_timeout"} else Outcome.ERROR


def _broken(tool: LiveTool, why: str) -> Result:
    return _unusable(f"{tool.name} answered in a shape that breaks its own output schema:\n{why}")


def _unfit(tool: LiveTool, why: str) -> Result:
    return _unusable(f"The hub cleaned what {tool.name} gave, which then does not fit the tool's output schema:\n{why}")


def _unusable(what: str) -> Result:
    return Result.of_error(
        f"{what}\nCalling again will likely give the same; tell an admin of this tenant.", "invalid_output"
    )


def _listed(problems: list[Problem]) -> str:
    return "\n".join(f"- {problem.message}" for problem in problems)


def encodable(result: Result) -> Result:
    """The same with U+003F for lone surrogates, which have no UTF-8: file names and broken upstreams bring them."""
    texts = [block.text for block in result.content if isinstance(block, Text)]
    if all(text.isascii() or is_unicode(text) for text in texts):
        return result
    content = (
        Text(text=block.text.encode(errors="replace").decode()) if isinstance(block, Text) else block
        for block in result.content
    )
    return replace(result, content=tuple(content))


def _bounded(tool: LiveTool, result: Result, size: int) -> Result:
    """What may be told of a result of so many bytes."""
    notice = (
        f"[Cut: the result has {size} bytes, and {tool.name} may give {tool.max_result}. "
        "Ask for less: narrower filters, fewer items, or the next page.]"
    )
    # Structured content cannot be cut and stay valid, so where it is promised the whole becomes an error to act on.
    return Result(
        content=(*_cut(result.content, tool.max_result), Text(text=notice, by_hub=True)),
        is_error=result.is_error or tool.output is not None,
        reason=result.reason or "result_too_large",
    )


def _cut(content: tuple[Block, ...], room: int) -> list[Block]:
    """As many whole blocks as fit, and the beginning of the text that does not."""
    kept: list[Block] = []
    for block in content:
        size = _size(block)
        if size > room:
            if isinstance(block, Text) and room > 0:
                kept.append(Text(text=block.text.encode()[:room].decode(errors="ignore")))
            break
        kept.append(block)
        room -= size
    return kept


def _size(block: Block) -> int:
    match block:
        case Text(text=text, by_hub=by_hub):
            return 0 if by_hub else len(text.encode())
        case Image(data=data) | Audio(data=data):
            return len(data)
        case Embedded(text=text, blob=blob):
            return len((text or "").encode()) + len(blob or "")
        case ResourceLink():
            return len(orjson.dumps([block.uri, block.name, block.description]))
