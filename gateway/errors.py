"""Answers of the endpoint that are not results."""

from dataclasses import dataclass, field
from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
INSUFFICIENT_SCOPE = -32001
"""Ours, from the range JSON-RPC leaves to servers; over HTTP it travels with a 403 and its challenge."""
UNAVAILABLE = -32002
"""Ours: the hub runs nothing at the moment, as it cannot record calls or was stopped. HTTP 503."""
TOO_MUCH = -32003
"""Ours: more waiting for jobs, or more looks at them, than one member may do here. HTTP 429."""


@dataclass(kw_only=True, slots=True)
class Fault(Exception):
    """A JSON-RPC error with its HTTP status and headers.

    scopes: asks for a 403 challenge. request_id: what it answers to, when that is known where it is raised.
    """

    code: int
    message: str
    status: int = 400
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    request_id: Any = None

    def body(self, request_id: Any) -> dict[str, Any]:
        """The JSON-RPC error object for this request id (None where it could not be read)."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": request_id, "error": error}
