"""Python functions that a deployment offers as tools of kind `function`.

    from tools.functions import Context, function

    @function()
    async def count_words(text: str, ctx: Context) -> int:
        "How many words a text has."

Sync or async, typed; pydantic derives the input and output schema. Modules are named in the setting TOOL_FUNCTIONS.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_type_hints

import anyio.from_thread
from django.conf import settings
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from tenants.caller import Caller
from tools.values import Report, Result


class Context:
    """What a function may ask for by naming a parameter of this type: progress, log, cancellation, who is calling."""

    def __init__(self, report: Report, caller: Caller):
        self._report = report
        self.caller = caller
        self.cancelled = False
        """Whether nobody waits any more; a long sync function looks at this and returns."""

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the host how far it is; `done` must grow."""
        await self._report.progress(done, total, message)

    def progress_sync(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """The same from a sync function, which runs in a thread."""
        anyio.from_thread.run(self._report.progress, done, total, message)

    async def log(self, level: str, data: Any) -> None:
        """Send the host a log message, for hosts that ask for them."""
        await self._report.log(level, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A registered function: how to call it and the schemas it gives."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    arguments: type[BaseModel]
    context_parameter: str | None
    output: TypeAdapter[Any] | None

    def input_schema(self) -> dict[str, Any]:
        return self.arguments.model_json_schema()

    def output_schema(self) -> dict[str, Any] | None:
        return self.output.json_schema(mode="serialization") if self.output else None

    def description(self) -> str:
        return inspect.getdoc(self.call) or ""


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_registry: dict[str, Function] = {}


def function(name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under `name` (default: its own); a name can be taken once."""

    def register(call: Callable[..., Any]) -> Callable[..., Any]:
        described = describe(name or call.__name__, call)
        known = _registry.get(described.name)
        if known is not None and _place(known.call) != _place(call):
            raise ValueError(f"two functions are registered as {described.name!r}")
        _registry[described.name] = described
        return call

    return register


def _place(call: Callable[..., Any]) -> tuple[str, str]:
    """Where it is written; a module that is imported anew registers the same functions again."""
    return call.__module__, call.__qualname__


def describe(name: str, call: Callable[..., Any]) -> Function:
    """Read a function's signature into schemas; raises TypeError for what cannot be called with named arguments."""
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise TypeError(f"{name}: a generator gives no single result")
    hints = get_type_hints(call, include_extras=True)
    context_parameter = None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(call).parameters.values():
        if hints.get(parameter.name) is Context:
            context_parameter = parameter.name
        elif parameter.kind not in _BY_NAME:
            raise TypeError(f"{name}: the parameter {parameter.name} cannot be given by name")
        elif parameter.name not in hints:
            raise TypeError(f"{name}: the parameter {parameter.name} has no type")
        else:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    returned = hints.get("return")
    return Function(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        arguments=create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields),
        context_parameter=context_parameter,
        output=None if returned in (None, type(None), Result, str) else TypeAdapter(returned),
    )


def load() -> dict[str, Function]:
    """Every registered function by name, after importing the modules of TOOL_FUNCTIONS."""
    for module in settings.TOOL_FUNCTIONS:
        import_module(module)
    return _registry
