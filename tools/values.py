"""The values a call is made of: Call in, Result out. Frozen, keyword-only, and free of any protocol."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

from tenants.caller import Caller

if TYPE_CHECKING:
    from tools.catalog import LiveTool


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """by_hub: the hub says it, not the tool."""

    text: str
    by_hub: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """data: base64."""

    data: str
    mime_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Audio:
    """data: base64."""

    data: str
    mime_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceLink:
    uri: str
    name: str
    description: str | None = None
    mime_type: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """A resource carried in the result: `text`, or `blob` in base64."""

    uri: str
    mime_type: str
    text: str | None = None
    blob: str | None = None


Block = Text | Image | Audio | ResourceLink | Embedded


class _Absent:
    """No structured content, as against a structured `null`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where content from outside came from. source: the host of the upstream, or the kind of the tool."""

    tool: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What comes back from a tool.

    structured: any JSON value, or ABSENT. With no content beside it, it is repeated as text for hosts that read only
    text (`tools.outcome.settle` writes it).
    is_error: the model should read it as a failure. reason: the code the ledger keeps for it. provenance: of what
    others wrote; None for what is trusted.
    """

    content: tuple[Block, ...] = ()
    structured: Any = ABSENT
    is_error: bool = False
    reason: str = ""
    provenance: Provenance | None = None

    @classmethod
    def of_text(cls, text: str) -> "Result":
        return cls(content=(Text(text=text),))

    @classmethod
    def of_data(cls, value: Any) -> "Result":
        """A JSON value, as structured content and, once it is settled, as text."""
        return cls(structured=value)

    @classmethod
    def of_error(cls, message: str, reason: str = "tool_error") -> "Result":
        return cls(content=(Text(text=message),), is_error=True, reason=reason)


class Report(Protocol):
    """What a running tool may say before it is done."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...

    async def log(self, level: str, data: Any) -> None: ...


class Silent:
    """A Report nobody listens to."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        return None

    async def log(self, level: str, data: Any) -> None:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a running tool asks the person it works for: a sentence, and the JSON Schema of a flat object to fill in.

    What MCP calls elicitation in form mode (client/elicitation); never ask for a secret by it.
    """

    message: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a Question was answered with. content: fits its schema; empty unless accepted."""

    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        return self.action == "accept"


@runtime_checkable
class Asks(Protocol):
    """A Report whose follower can be asked in the middle of a call; that of an attempt at a job is one."""

    async def ask(self, questions: Mapping[str, Question]) -> Mapping[str, Reply]:
        """A Reply for every key, once all are there; raises ToolError when nobody answered."""


@runtime_checkable
class Resumable(Protocol):
    """A Report of a job, which may go on in another process when this one ends; that of an attempt at a job is one.

    upstream: what an earlier attempt kept; None on the first. handed_back: the work is being cancelled here to go on
    elsewhere, so the upstream is not to be told to stop.
    """

    @property
    def upstream(self) -> Mapping[str, Any] | None: ...

    @property
    def handed_back(self) -> bool: ...

    async def keep(self, upstream: Mapping[str, Any]) -> None:
        """What the upstream calls the work, never a secret. Returns once it is durable."""


@runtime_checkable
class CalledBack(Protocol):
    """A Report of a job whose upstream can call back; that of an attempt at a job is one."""

    def callback_url(self) -> str:
        """Where the upstream calls back about the work that this attempt starts, or goes on with. As good as a
        secret: whoever has it can end the job."""

    async def called_back(self, seconds: float) -> bytes | None:
        """The next call-back, as JSON, in the order in which they came; None when there was none for so many seconds.

        It is kept until the one after it is asked for, so that an attempt after a lost worker is told it again.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a call came from: `mcp`, `admin` or `cli`, and what is kept of it for the ledger.

    client: what the host calls itself, untrusted. traceparent, tracestate: W3C trace context, passed on upstream; who
    makes an Origin has checked them (`gateway.visit`).
    """

    via: str
    address: str = ""
    client: str = ""
    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One use of a tool, after validation: what a kind gets.

    attempt: which of a job this is, counted from 1. deadline: when the tool is stopped; whoever waits for a person may
    put it off.
    """

    id: uuid.UUID
    caller: Caller
    tool: "LiveTool"
    arguments: dict[str, Any]
    origin: Origin
    report: Report = field(default_factory=Silent)
    attempt: int = 1
    deadline: asyncio.Timeout | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What a kind knows of a tool without being told: its schemas and a first description."""

    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    description: str
