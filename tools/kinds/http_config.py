"""What an admin describes of a tool of kind `http`: one request below the Connection's base URL, and its answer."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Location = Literal["path", "query", "header", "body"]
Place = tuple[Location, str]

SAFE_METHODS = frozenset({"GET", "HEAD"})
_NO_BODY = frozenset({"GET", "HEAD"})
_QUERY_BY_DEFAULT = frozenset({"GET", "HEAD", "DELETE"})

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")  # RFC 6570, 2.3, without percent-encoded names
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986, 3.3
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")

# RFC 9110, 7.6.1, and what frames a message: these belong to the HTTP client.
_CONNECTION_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
# Their place is the Connection, where they are sealed.
_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authenticate", "proxy-authorization", "set-cookie", "www-authenticate"}
    | {"x-api-key"}
)
# Fine for an admin to fix, but not for an argument to choose: they change how the request is read or who it seems from.
_NOT_FOR_ARGUMENTS = frozenset(
    {"content-encoding", "content-type", "forwarded", "traceparent", "tracestate", "user-agent", "via"}
    | {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-original-url", "x-rewrite-url"}
    | {"x-http-method", "x-http-method-override", "x-method-override"}
)


def climbs(path: str) -> bool:
    """Whether some reader of `path` would see a `.` or `..` segment, however often it decodes it first."""
    decoded = fully_decoded(path)
    # Servlet containers drop `;parameters` of a segment before they resolve it.
    return any(segment.partition(";")[0] in {".", ".."} for segment in re.split(r"[/\\]", decoded))


def fully_decoded(text: str) -> str:
    """`text` without any layer of percent-encoding."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


class Parameter(BaseModel):
    """Where one argument goes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    location: Location = Field(alias="in", description="Where the argument goes: path, query, header or body.")
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="Its name there, when that is not the argument's own."
    )
    slashes: bool = Field(
        default=False, description="For the path: let the value hold slashes, which are sent as %2F; otherwise refused."
    )


class Failure(BaseModel):
    """A status that means failure, in words of the admin's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str = Field(
        min_length=1, max_length=1000, description="What the model is told: what is wrong and what to do."
    )


class Cancelling(BaseModel):
    """How an upstream is told to stop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field(default="DELETE", description="The request's method.")
    path: str = Field(max_length=500, description="The path below the base URL; {id} takes the work's id.")

    @field_validator("path")
    @classmethod
    def _is_a_template(cls, path: str) -> str:
        return _checked_template(path, needs="id")


class Callback(BaseModel):
    """Where the tool's own request carries the URL at which the upstream calls back."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    location: Literal["body", "header", "query"] = Field(
        alias="in", description="Where the URL goes: body, header or query."
    )
    name: str = Field(default="callback_url", min_length=1, max_length=200, description="Its name there.")


class Asynchronous(BaseModel):
    """How work is followed that the upstream only starts. `id`, `status`, `progress`, `total`, `message` and `result`
    are JMESPath over the JSON of an answer, or of what the upstream calls back with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    poll: str | None = Field(
        default=None, max_length=500, description="The path to ask how far it is; {id} takes the work's id."
    )
    callback: Callback | None = Field(
        default=None, description="Where the upstream is given a URL to call back at, when it does that."
    )
    every: float = Field(default=2.0, ge=0.1, le=600, description="Seconds between two times of asking.")
    id: str = Field(default="id", min_length=1, max_length=4000, description="The work's id, in the first answer.")
    status: str = Field(default="status", min_length=1, max_length=4000, description="Where its state is said.")
    done: list[str] = Field(default=["done"], min_length=1, max_length=50, description="States that mean it is done.")
    failed: list[str] = Field(
        default=["failed", "error", "cancelled"], max_length=50, description="States that mean it failed."
    )
    progress: str | None = Field(default=None, min_length=1, max_length=4000, description="How far it is, a number.")
    total: str = Field(
        default="`1`", min_length=1, max_length=4000, description="The progress of all of it; `100` for per cent."
    )
    message: str | None = Field(
        default=None, min_length=1, max_length=4000, description="What it is doing, or why not."
    )
    result: str = Field(
        default="@", min_length=1, max_length=4000, description="The result, in the answer that is done."
    )
    cancel: Cancelling | None = Field(default=None, description="How it is told to stop, where it can be.")

    _expressions: dict[str, ParsedResult] = PrivateAttr(default_factory=dict)

    @field_validator("poll")
    @classmethod
    def _is_a_template(cls, path: str | None) -> str | None:
        return path if path is None else _checked_template(path, needs="id")

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        for name in ("id", "status", "progress", "total", "message", "result"):
            written = getattr(self, name)
            if written is not None:
                self._expressions[name] = _compile(written)
        if both := sorted({*self.done} & {*self.failed}):
            raise ValueError(f"{', '.join(both)} cannot mean done and failed")
        if self.poll is None and self.callback is None:
            raise ValueError("say with `poll` where to ask, or with `callback` how the upstream learns where to call")
        return self

    @property
    def expressions(self) -> Mapping[str, ParsedResult]:
        """The compiled ones, by the name of their field."""
        return self._expressions


Verdict = Failure | Literal["ok", "empty"]


class Config(BaseModel):
    """One request and how to read its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field(default="GET", description="The request's method.")
    path: str = Field(
        max_length=500,
        description="The path below the connection's base URL; {name} takes the argument of that name: /tickets/{id}.",
    )
    parameters: dict[str, Parameter] = Field(
        default_factory=dict,
        description="Where arguments go; one not listed goes to the path when that names it, otherwise to the query "
        "(GET, HEAD, DELETE) or the body.",
    )
    body_format: Literal["json", "form"] = Field(default="json", description="How the body is written.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers sent with every request.")
    query: dict[str, str | bool | int | float | list[str]] = Field(
        default_factory=dict, description="Query parameters sent with every request, which no argument can change."
    )
    body: dict[str, Any] = Field(
        default_factory=dict, description="Body fields sent with every request, which no argument can change."
    )
    response: str = Field(
        default="auto",
        min_length=1,
        max_length=4000,
        description="How the answer is read: auto (by its content type), json, text, or a JMESPath expression over its "
        "JSON.",
    )
    statuses: dict[str, Verdict] = Field(
        default_factory=dict,
        description='What a status (404) or a class of them (4xx) means: "ok", "empty", or {"error": "what the model '
        'is told"}; otherwise 2xx is ok and the rest are errors.',
    )
    retries: Annotated[int, Field(ge=0, le=3)] = Field(
        default=2, description="How often to try again after a failure that may pass, where repeating does no harm."
    )

    asynchronous: Asynchronous | None = Field(
        default=None,
        description='For an upstream that only starts the work: how to follow it until it is done, like {"poll": '
        '"/reports/{id}", "done": ["done"], "failed": ["failed"], "progress": "percent", "total": "`100`", "result": '
        '"result"}. id, status, progress, total, message and result are JMESPath. For an upstream that calls back, '
        '{"callback": {"in": "body", "name": "callback_url"}}, with poll or without. Let such a tool run as a job.',
    )

    _variables: tuple[str, ...] = PrivateAttr(default=())
    _places: dict[str, Place] = PrivateAttr(default_factory=dict)
    _expression: ParsedResult | None = PrivateAttr(default=None)

    @field_validator("path")
    @classmethod
    def _is_a_template(cls, path: str) -> str:
        return _checked_template(path)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            _check_header_name(name)
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the value of {name} must be printable ASCII on one line")
        return headers

    @field_validator("statuses")
    @classmethod
    def _are_statuses(cls, statuses: dict[str, Verdict]) -> dict[str, Verdict]:
        for status in statuses:
            if not _STATUS.fullmatch(status):
                raise ValueError(f"{status!r} is not a status; write one like 404 or a class like 4xx")
        return statuses

    @field_validator("response")
    @classmethod
    def _can_be_read(cls, response: str) -> str:
        if response not in _READINGS:
            _compile(response)
        return response

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.body and self.method in _NO_BODY:
            raise ValueError(f"{self.method} has no body; put the fixed values under `query`")
        if self.asynchronous is not None and self.response != "auto":
            raise ValueError("an asynchronous answer is read by asynchronous.result; leave response as auto")
        variables = tuple(_EXPRESSION.findall(self.path))
        if len(set(variables)) < len(variables):
            raise ValueError("the path names a variable twice")
        places = {argument: (given.location, given.name or argument) for argument, given in self.parameters.items()}
        self._check_places(places, variables)
        self._variables, self._places = variables, places
        self._expression = None if self.response in _READINGS else _compile(self.response)
        return self

    def _check_places(self, places: dict[str, Place], variables: tuple[str, ...]) -> None:
        taken = {_key("header", name) for name in self.headers} | {_key("query", name) for name in self.query}
        taken |= {_key("body", name) for name in self.body}
        if self.callback is not None:
            taken.add(self._check_callback(self.callback, taken))
        for argument, (location, name) in places.items():
            if _key(location, name) in taken:
                raise ValueError(f"{argument} goes to the {location} as {name!r}, which is already taken")
            taken.add(_key(location, name))
            if location == "path" and name not in variables:
                raise ValueError(f"{argument} goes to the path, but the path has no {{{name}}}")
            if location == "header":
                _check_header_name(name, by="by an argument")
            if location == "body" and self.method in _NO_BODY:
                raise ValueError(f"{argument} goes to the body, but {self.method} has none")
        for variable in variables:
            if _key("path", variable) not in taken and variable in places:
                raise ValueError(f"nothing fills {{{variable}}}: {variable} goes to the {places[variable][0]} instead")

    def _check_callback(self, callback: Callback, taken: set[tuple[str, str]]) -> tuple[str, str]:
        location, name = callback.location, callback.name
        if location == "body" and self.method in _NO_BODY:
            raise ValueError(f"the URL to call back at goes to the body, but {self.method} has none")
        if location == "header":
            _check_header_name(name, by="to the URL to call back at")
        if _key(location, name) in taken:
            raise ValueError(f"the URL to call back at goes to the {location} as {name!r}, which is already taken")
        return _key(location, name)

    @property
    def callback(self) -> Callback | None:
        """Where the URL goes at which the upstream calls back, if it does."""
        return self.asynchronous.callback if self.asynchronous is not None else None

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in the path's braces, in order."""
        return self._variables

    @property
    def expression(self) -> ParsedResult | None:
        """The compiled JMESPath, when `response` is one."""
        return self._expression

    def place(self, argument: str) -> Place:
        """Where an argument goes, and under which name."""
        listed = self._places.get(argument)
        if listed is not None:
            return listed
        if argument in self._variables and ("path", argument) not in self._places.values():
            return "path", argument
        return ("query" if self.method in _QUERY_BY_DEFAULT else "body"), argument

    def verdict(self, status: int) -> Verdict | None:
        """What a status means: as configured, exact before class; "ok" for other 2xx; None for an unexplained error."""
        found = self.statuses.get(str(status)) or self.statuses.get(f"{status // 100}xx")
        return found or ("ok" if 200 <= status < 300 else None)


def only_called_back(config: Any) -> bool:
    """Whether work by this config is followed by call-backs alone, which reach only a job. For any config, also one
    that is not valid."""
    found = config.get("asynchronous") if isinstance(config, Mapping) else None
    return isinstance(found, Mapping) and bool(found.get("callback")) and not found.get("poll")


_READINGS = frozenset({"auto", "json", "text"})


def _checked_template(path: str, *, needs: str = "") -> str:
    """The path, when it is a template that stays below the base URL; raises ValueError."""
    variables = _EXPRESSION.findall(path)
    for expression in variables:
        if not _VARIABLE.fullmatch(expression):
            raise ValueError(f"{{{expression}}} is not a plain {{name}}; only RFC 6570 level 1 is understood")
    literal = _EXPRESSION.sub("x", path)
    if path and not path.startswith("/"):
        raise ValueError("the path starts with / and stays below the connection's base URL")
    if not _LITERAL.fullmatch(literal):
        raise ValueError(
            "the path holds a character that a path cannot; percent-encode it, and put a query under `query`"
        )
    if "//" in literal or climbs(literal) or _CONTROL.search(fully_decoded(literal)):
        raise ValueError("the path must not hold //, . or .. segments, or control characters")
    if needs and needs not in variables:
        raise ValueError(f"the path needs {{{needs}}}")
    return path


def _key(location: str, name: str) -> tuple[str, str]:
    return location, name.lower() if location == "header" else name


def _check_header_name(name: str, *, by: str = "") -> None:
    """by: by whom or to what its value is set, where that is not the admin's own choice."""
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header's name")
    if lower in _CREDENTIAL_HEADERS:
        raise ValueError(f"{name} carries credentials; set them on the connection, where they are sealed")
    if lower in _CONNECTION_HEADERS or (by and lower in _NOT_FOR_ARGUMENTS):
        raise ValueError(f"{name} cannot be set {by or 'here'}; the hub sets it")


def _compile(expression: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(expression)
    except JMESPathError as problem:
        raise ValueError(f"not a JMESPath expression: {str(problem).splitlines()[0]}") from None
    for name, given in _functions(compiled.parsed):
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            there_are = ", ".join(sorted(Functions.FUNCTION_TABLE))
            raise ValueError(f"JMESPath has no function {name}(); there are: {there_are}")
        wanted = known["signature"]
        variadic = bool(wanted) and bool(wanted[-1].get("variadic"))
        if given != len(wanted) and not (variadic and given > len(wanted)):
            raise ValueError(f"the JMESPath function {name}() takes {len(wanted)} arguments, not {given}")
    return compiled


def _functions(node: Any) -> Iterator[tuple[str, int]]:
    """Each function an expression calls, with its number of arguments; the library looks only when it gets there."""
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield node["value"], len(node["children"])
        for child in node.get("children", ()):
            yield from _functions(child)
