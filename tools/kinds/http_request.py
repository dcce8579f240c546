"""From arguments to a request. Pure: nothing is sent here, and nothing an argument holds can leave the base URL."""

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import orjson
from multidict import CIMultiDict

from lib.fetch import Outbound
from lib.version import VERSION
from tools.errors import Misconfigured, ToolError
from tools.kinds.http_config import SAFE_METHODS, Config, Place, climbs, fully_decoded
from tools.models import Auth
from tools.values import Call, Origin

if TYPE_CHECKING:
    from tools.catalog import LiveConnection

_ACCEPT = {
    "auto": "application/json, text/*;q=0.9, */*;q=0.5",
    "text": "text/*, */*;q=0.5",
}
_ACCEPT_JSON = "application/json, */*;q=0.5"
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_BASE = re.compile(r"[@?#\\\s\x00-\x1f\x7f]")
_PRINTABLE = re.compile(r"[\t\x20-\x7e]*")
_MOST_REDIRECTS = 3
_MOST_SEGMENT = 2000
_LEAST_ANSWER = 1024 * 1024
# What another origin may see after a redirect; everything else that is set here is for the Connection's host alone.
_INNOCENT = frozenset({"accept", "user-agent", "content-type"})

Pairs = list[tuple[str, str]]


class _Parts:
    """A request under construction: the fixed values first, then the arguments, never one over the other."""

    def __init__(self, config: Config) -> None:
        self.path: dict[str, str] = {}
        self.query: Pairs = [(name, text) for name, value in config.query.items() for text in _texts(value)]
        self.headers: CIMultiDict[str] = CIMultiDict(config.headers)
        self.body: dict[str, Any] = dict(config.body)
        self._config = config
        self._taken: set[Place] = {("query", name) for name in config.query} | {("body", name) for name in config.body}

    def tell(self, url: str) -> None:
        """Say where to call back, which no argument can change."""
        callback = self._config.callback
        if callback is None:
            return
        self._taken.add((callback.location, callback.name))
        if callback.location == "header":
            self.headers[callback.name] = url
        elif callback.location == "query":
            self.query.append((callback.name, url))
        else:
            self.body[callback.name] = url

    def put(self, argument: str, value: Any) -> None:
        location, name = self._config.place(argument)
        if location == "path":
            listed = self._config.parameters.get(argument)
            self.path[name] = _segment(argument, value, slashes=listed is not None and listed.slashes)
        elif value is None and location != "body":
            return
        elif location == "header":
            self.headers[name] = _header_value(argument, value)
        elif location == "query":
            self._claim(argument, (location, name))
            self.query += [(name, text) for text in _texts(value)]
        else:
            self._claim(argument, (location, name))
            self.body[name] = value

    def _claim(self, argument: str, place: Place) -> None:
        if place in self._taken:
            raise Misconfigured(
                f"The argument {argument} would replace {place[1]!r} in the {place[0]}, which is set already. "
                "Leave it out, and tell an admin of this tenant."
            )
        self._taken.add(place)


def build(call: Call, connection: "LiveConnection", *, timeout: float, callback_url: str = "") -> Outbound:
    """The request for a call. timeout: seconds for the whole exchange. callback_url: where the upstream may call back,
    for a config that says where to put it.

    Raises ToolError for an argument that cannot be sent, Misconfigured for a Connection that cannot be used.
    """
    config: Config = call.tool.config
    try:
        parts = _Parts(config)
        if callback_url:
            parts.tell(callback_url)
        for argument, value in call.arguments.items():
            parts.put(argument, value)
        body, content_type = _body(config, parts.body)
        path = _expand(config, parts.path)
        _prove(connection, parts)
        url = base_of(connection) + path + (f"?{_encoded(parts.query)}" if parts.query else "")
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        raise ToolError(
            "An argument holds a number over 64 bits or half of a surrogate pair, which cannot be sent. "
            "Mend it and call again.",
            reason="invalid_arguments",
        ) from None
    _complete(parts.headers, config, call.origin, content_type)
    return Outbound(
        method=config.method,
        url=url,
        headers=parts.headers,
        body=body,
        timeout=timeout,
        # JSON shrinks when it is searched and rewritten, so more may come in than may go on to the model.
        max_bytes=max(call.tool.max_result * 4, _LEAST_ANSWER),
        allow_hosts=connection.allow_hosts,
        # A write that is redirected may have been done already, so where it leads is the admin's to decide.
        follow_redirects=_MOST_REDIRECTS if config.method in SAFE_METHODS else 0,
        sensitive=frozenset(name.lower() for name in parts.headers) - _INNOCENT,
    )


def base_of(connection: "LiveConnection") -> str:
    """The base URL without a trailing slash; Misconfigured when it holds more than scheme, host, port and path."""
    try:
        parts = urlsplit(connection.base_url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or climbs(parts.path) or _NOT_IN_BASE.search(connection.base_url):
        raise Misconfigured(
            f"The base URL of the connection {connection.name!r} has to be like https://api.example.com/v1, without "
            "credentials or a query. Tell an admin of this tenant."
        )
    return connection.base_url.rstrip("/")


def secrets_of(connection: "LiveConnection") -> tuple[str, ...]:
    """Every spelling under which an upstream may echo the credentials, longest first."""
    secret = connection.secret
    if len(secret) < 4:  # nothing so short is a secret, and replacing it would shred the answer
        return ()
    basic = {_basic(connection)} if connection.auth == Auth.BASIC else set()
    return tuple(sorted(_spellings(secret) | basic, key=len, reverse=True))


def spellings_of(url: str) -> tuple[str, ...]:
    """The same for a URL whose last segment opens something, whole and that segment alone."""
    return tuple(sorted(_spellings(url) | _spellings(url.rpartition("/")[2]), key=len, reverse=True))


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), orjson.dumps(secret).decode()[1:-1]}


def _expand(config: Config, values: Mapping[str, str]) -> str:
    path = config.path
    for variable in config.variables:
        if variable not in values:
            raise ToolError(
                f"The argument that fills {{{variable}}} in the path is missing. Give it and call again.",
                reason="invalid_arguments",
            )
        path = path.replace(f"{{{variable}}}", values[variable])
    # Each value was checked by itself; next to its neighbours it could still complete a dot segment.
    if climbs(path):
        raise ToolError(
            "The arguments together make a path of dots. Mend them and call again.", reason="invalid_arguments"
        )
    return path


def _segment(argument: str, value: Any, *, slashes: bool) -> str:
    """A value for the path, percent-encoded (RFC 6570, 3.2.2), or a ToolError that says what it may not hold."""
    if value is None or isinstance(value, dict | list):
        raise _unfit(argument, "has to be one text, number or boolean, because it becomes part of a path")
    text = _text(value)
    if len(text) > _MOST_SEGMENT:
        raise _unfit(argument, f"must not be longer than {_MOST_SEGMENT} characters, because it becomes part of a path")
    decoded = fully_decoded(text)
    if not text or climbs(text):
        raise _unfit(argument, "must not be empty or made of . or .. , because it becomes part of a path")
    if _CONTROL.search(decoded):
        raise _unfit(argument, "must not hold control characters or line breaks, because it becomes part of a path")
    if not slashes and ("/" in decoded or "\\" in decoded):
        raise _unfit(argument, "must not hold / or \\, because it becomes one segment of a path; give the bare value")
    return quote(text, safe="")


def _header_value(argument: str, value: Any) -> str:
    text = ", ".join(_texts(value)).strip()
    if not _PRINTABLE.fullmatch(text):
        raise _unfit(argument, "has to be printable ASCII on one line, because it becomes a header")
    return text


def _unfit(argument: str, rule: str) -> ToolError:
    return ToolError(f"The argument {argument} {rule}. Mend it and call again.", reason="invalid_arguments")


def _texts(value: Any) -> list[str]:
    """How a value is written where there is only text: lists as repeated values, nothing for null."""
    items = value if isinstance(value, list) else [value]
    return [_text(item) for item in items if item is not None]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # A schema's integer may arrive as 5.0, which few upstreams take for a 5.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if type(value) is int else orjson.dumps(value).decode()


def _encoded(pairs: Pairs) -> str:
    return urlencode(pairs, quote_via=quote, safe="")


def _body(config: Config, fields: Mapping[str, Any]) -> tuple[bytes | None, str]:
    if not fields:
        return None, ""
    if config.body_format == "json":
        return orjson.dumps(fields), _JSON
    return _encoded([(name, text) for name, value in fields.items() for text in _texts(value)]).encode(), _FORM


def _prove(connection: "LiveConnection", parts: _Parts) -> None:
    """Add the Connection's credentials, where nothing else may stand."""
    if connection.auth == Auth.NONE:
        return
    if connection.shut:
        raise _unproven(connection, "has a secret that no key of the hub opens")
    if _CONTROL.search(connection.secret) or not (connection.secret or connection.auth == Auth.BASIC):
        raise _unproven(connection, "has no usable secret")
    if connection.auth == Auth.QUERY:
        if not connection.auth_name or any(name == connection.auth_name for name, _ in parts.query):
            raise _unproven(connection, "and this tool use the same query parameter, or it names none")
        parts.query.append((connection.auth_name, connection.secret))
        return
    name, value = _credential_header(connection)
    if not name or name in parts.headers:
        raise _unproven(connection, "and this tool set the same header, or it names none")
    parts.headers[name] = value


def _credential_header(connection: "LiveConnection") -> tuple[str, str]:
    match connection.auth:
        case Auth.BEARER:
            return "Authorization", f"Bearer {connection.secret}"
        case Auth.BASIC:
            return "Authorization", f"Basic {_basic(connection)}"
        case Auth.HEADER:
            return connection.auth_name, connection.secret
    raise _unproven(connection, "proves itself in a way this hub does not know")


def _basic(connection: "LiveConnection") -> str:
    """RFC 7617, 2."""
    return base64.b64encode(f"{connection.username}:{connection.secret}".encode()).decode()


def _unproven(connection: "LiveConnection", why: str) -> Misconfigured:
    return Misconfigured(f"The connection {connection.name!r} {why}. Tell an admin of this tenant.")


def _complete(headers: CIMultiDict[str], config: Config, origin: Origin, content_type: str) -> None:
    headers.setdefault("User-Agent", f"mcphub/{VERSION}")
    headers.setdefault("Accept", _ACCEPT.get(config.response, _ACCEPT_JSON))
    if content_type:
        headers.setdefault("Content-Type", content_type)
    if origin.traceparent:
        headers["traceparent"] = origin.traceparent
    if origin.tracestate:
        headers["tracestate"] = origin.tracestate
