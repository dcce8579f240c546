"""How tools run. A kind is one file; adding one is that file, a line here, a test file and a heading in the docs."""

from typing import Any, Protocol, cast

from pydantic import BaseModel

from tools.kinds import function, http
from tools.values import Call, Described, Result


class Kind(Protocol):
    """What every kind's module offers.

    Config: validates `Tool.config` and draws its admin form. NEEDS_CONNECTION: whether a Connection must be chosen.
    run: does the work under the caller's deadline, cancellable, holding no database connection; raises ToolError for
    what a model should read.
    """

    Config: type[BaseModel]
    NEEDS_CONNECTION: bool

    async def run(self, call: Call) -> Result: ...


KINDS: dict[str, Kind] = {
    "http": cast(Kind, http),
    "function": cast(Kind, function),
}


def parse_config(kind: str, config: dict[str, Any]) -> BaseModel:
    """The kind's own Config; raises KeyError for an unknown kind and pydantic.ValidationError for a wrong config."""
    return KINDS[kind].Config.model_validate(config)


def derived(kind: str, config: dict[str, Any]) -> Described | None:
    """The schemas that a kind knows by itself from a valid config, such as a function's; None for the others."""
    derive = getattr(KINDS[kind], "derive", None)
    found: Described | None = derive(config) if derive else None
    return found
