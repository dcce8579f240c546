"""Kind `function`: a Python function that the deployment registered (see tools.functions)."""

import functools
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tools import functions, threads
from tools.errors import Misconfigured, ToolError
from tools.values import Call, Described, Result

NEEDS_CONNECTION = False


def _choices(schema: dict[str, Any]) -> None:
    """Lets forms offer what is registered."""
    schema["enum"] = sorted(functions.load())


class Config(BaseModel):
    """Which function."""

    model_config = ConfigDict(extra="forbid")

    function: str = Field(description="The name it is registered under.", json_schema_extra=_choices)

    @field_validator("function")
    @classmethod
    def _exists(cls, name: str) -> str:
        known = functions.load()
        if name not in known:
            raise ValueError(f"no function is registered as {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
        return name


def derive(config: dict[str, Any]) -> Described | None:
    """The schemas and docstring of the function that a config names."""
    known = functions.load().get(str(config.get("function")))
    if known is None:
        return None
    return Described(
        input_schema=known.input_schema(), output_schema=known.output_schema(), description=known.description()
    )


async def run(call: Call) -> Result:
    """Call the function with typed arguments; a sync one runs in a thread, told through its Context when to stop."""
    described = functions.load().get(call.tool.config.function)
    if described is None:
        raise Misconfigured(f"The function {call.tool.config.function!r} is gone. Tell an admin of this tenant.")
    arguments = _arguments(described, call)
    context = functions.Context(call)
    if described.context_parameter:
        arguments[described.context_parameter] = context
    try:
        return _result(described, await _call(described, arguments, call))
    finally:
        context.cancelled = True


def in_thread(config: Config) -> bool:
    """Whether the function runs in a thread, which nothing can stop from outside."""
    described = functions.load().get(config.function)
    return described is not None and not described.is_async


async def _call(described: functions.Function, arguments: dict[str, Any], call: Call) -> Any:
    if described.is_async:
        return await described.call(**arguments)
    work = functools.partial(described.call, **arguments)
    try:
        # Half of its time at most goes by in waiting, so that what begins can also end.
        return await threads.run_for(call.caller.tenant_id, work, patience=call.tool.timeout / 2)
    except threads.Busy:
        raise ToolError(
            f"{call.tool.name} was not run: the tools of this tenant are busy with as many calls as the hub runs at "
            "once. Try again in a few seconds, with fewer calls at a time.",
            reason="busy",
        ) from None


def _arguments(described: functions.Function, call: Call) -> dict[str, Any]:
    try:
        parsed = described.arguments.model_validate(call.arguments)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "arguments"
        raise ToolError(
            f"{where}: {first['msg']}. Mend the argument and call again.", reason="invalid_arguments"
        ) from None
    return {name: getattr(parsed, name) for name in type(parsed).model_fields}


def _result(described: functions.Function, returned: Any) -> Result:
    if isinstance(returned, Result):
        return returned
    if described.output is None:
        return Result.of_text("" if returned is None else str(returned))
    return Result.of_data(described.output.dump_python(returned, mode="json"))
