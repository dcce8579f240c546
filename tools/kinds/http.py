"""Kind `http`: one request to a REST API through a Connection, repeated only where that does no harm; and, where the
upstream only starts the work then, further requests until it is done.

Config, request and answer are pure and live beside this file; what takes time is in http_send and http_async.
"""

from tools.errors import Misconfigured
from tools.kinds import http_async
from tools.kinds.http_config import Asynchronous, Config, Failure, Parameter
from tools.kinds.http_request import build, secrets_of
from tools.kinds.http_response import Scrubber, read
from tools.kinds.http_send import send, understood
from tools.values import Call, Result

__all__ = ["NEEDS_CONNECTION", "Asynchronous", "Config", "Failure", "Parameter", "run"]

NEEDS_CONNECTION = True


async def run(call: Call) -> Result:
    """Send the request, again where that is safe and there is time, and read the answer. Raises ToolError."""
    connection = call.tool.connection
    if connection is None:
        raise Misconfigured("This tool has no connection. Tell an admin of this tenant.")
    if call.tool.config.asynchronous is not None:
        return await http_async.run(call, connection)
    inbound = await send(call, build(call, connection, timeout=call.tool.timeout))
    return await understood(read, inbound, call.tool, Scrubber(secrets=secrets_of(connection)))
