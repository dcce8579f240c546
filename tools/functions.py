"""Python functions that a deployment offers as tools of kind `function`.

    from tools.functions import Context, function

    @function()
    async def count_words(text: str, ctx: Context) -> int:
        "How many words a text has."

Sync or async, typed; pydantic derives the input and output schema. Modules are named in the setting TOOL_FUNCTIONS.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, get_type_hints

import anyio.from_thread
from django.conf import settings
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from tools.errors import Misconfigured
from tools.preflight import Check
from tools.values import Asks, Call, Question, Reply, Result


class Context:
    """What a function may ask for by naming a parameter of this type: progress, log, cancellation, who is calling."""

    def __init__(self, call: Call):
        self._report = call.report
        self._deadline = call.deadline
        self.caller = call.caller
        self.attempt = call.attempt
        """Counted from 1; a job is run more than once only where its tool says that it may be repeated."""
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

    async def ask(self, key: str, message: str, schema: Mapping[str, Any]) -> Reply:
        """Ask the person behind the call; see `ask_all`."""
        return (await self.ask_all({key: Question(message=message, schema=schema)}))[key]

    def ask_sync(self, key: str, message: str, schema: Mapping[str, Any]) -> Reply:
        """The same from a sync function, which runs in a thread."""
        return anyio.from_thread.run(self.ask, key, message, schema)

    async def ask_all(self, questions: Mapping[str, Question]) -> Mapping[str, Reply]:
        """Ask several things at once and wait for all; the time counts against no deadline of the tool's.

        Only a job can: its host shows the questions to a person, who may also decline. Raises ToolError when nobody
        answered.
        """
        if not isinstance(self._report, Asks):
            raise Misconfigured("This tool asks back, which it can only as a job. Tell an admin of this tenant.")
        with self._clock_stopped():
            return await self._report.ask(questions)

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        clock = asyncio.get_running_loop().time
        end = self._deadline.when() if self._deadline else None
        if self._deadline is None or end is None:
            yield
            return
        left = end - clock()
        self._deadline.reschedule(None)
        try:
            yield
        finally:
            self._deadline.reschedule(clock() + left)


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A registered function: how to call it and the schemas it gives."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    arguments: type[BaseModel]
    context_parameter: str | None
    output: TypeAdapter[Any] | None
    preflight: Check | None = None

    def input_schema(self) -> dict[str, Any]:
        return self.arguments.model_json_schema()

    def output_schema(self) -> dict[str, Any] | None:
        return self.output.json_schema(mode="serialization") if self.output else None

    def description(self) -> str:
        return inspect.getdoc(self.call) or ""


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_registry: dict[str, Function] = {}


def function(
    name: str | None = None, *, preflight: Check | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under `name` (default: its own); a name can be taken once.

    preflight: asks the person for arguments that are missing, before a call begins (see tools.preflight).
    """

    def register(call: Callable[..., Any]) -> Callable[..., Any]:
        described = replace(describe(name or call.__name__, call), preflight=preflight)
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
