"""A visit: one HTTP request at a tenant's endpoint after it was let in."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenants.caller import Caller
from tools.catalog import Catalog
from tools.values import Origin

Notify = Callable[[dict[str, Any]], Awaitable[None]]

# W3C Trace Context level 1, section 3.2.2.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Who came, what their tenant offers, what of the request is kept, and how to send news on its answer.

    secret: gives the credential that was presented, for a stream that is to be let in anew.
    """

    caller: Caller
    catalog: Catalog
    headers: Mapping[str, str]
    address: str
    notify: Notify
    secret: Callable[[], str | None]

    def anew(self, caller: Caller, offered: Catalog) -> "Visit":
        """The same visit, of whoever the credential stands for by now and of what is offered by now."""
        return replace(self, caller=caller, catalog=offered)

    def origin(self, meta: Mapping[str, Any], client_info: Any) -> Origin:
        """Where a call came from; trace context is taken from `_meta` (SEP-414), else from the HTTP headers."""
        trace = self._trace(meta, "traceparent", _TRACEPARENT)
        return Origin(
            via="mcp",
            address=self.address,
            client=_client_name(client_info) or self.headers.get("user-agent", "")[:100],
            traceparent=trace,
            tracestate=self._trace(meta, "tracestate", _TRACESTATE) if trace else "",
        )

    def _trace(self, meta: Mapping[str, Any], name: str, shape: re.Pattern[str]) -> str:
        for carrier in (meta, self.headers):
            value = carrier.get(name)
            if isinstance(value, str) and shape.fullmatch(value):
                return value
        return ""


def _client_name(info: Any) -> str:
    """`name/version` as the host calls itself. Untrusted, so only printable and bounded."""
    if not isinstance(info, Mapping):
        return ""
    name, version = str(info.get("name", "")), str(info.get("version", ""))
    told = f"{name}/{version}".strip("/")
    return (told if told.isprintable() else "".join(filter(str.isprintable, told)))[:100]
