"""Functions that tests publish as tools."""

import asyncio
import time
from typing import Any

from pydantic import BaseModel

from tools.errors import ToolError
from tools.functions import Context, function
from tools.values import Result


class Echoed(BaseModel):
    text: str


@function()
async def echo(text: str) -> Echoed:
    """Repeat a text."""
    return Echoed(text=text)


@function()
async def shout(text: str) -> str:
    """Repeat a text loudly, as plain text."""
    return text.upper()


@function()
async def count_slowly(ctx: Context, steps: int = 3, seconds: float = 0.3) -> str:
    """Count to `steps` within `seconds`, telling how far it is."""
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        await ctx.progress(step, steps, f"step {step}")
    return f"counted to {steps}"


@function()
def block(ctx: Context, seconds: float = 5.0) -> str:
    """Wait in a thread until told to stop, reporting progress from there."""
    began = time.monotonic()
    ctx.progress_sync(1, 2, "waiting")
    while time.monotonic() < began + seconds and not ctx.cancelled:
        time.sleep(0.01)
    return "stopped" if ctx.cancelled else "done"


@function()
async def fail(how: str) -> str:
    """Fail on purpose."""
    if how == "politely":
        raise ToolError("The printer is out of paper. Add paper and call again.")
    raise RuntimeError("a secret detail: password=hunter2")


@function()
async def long_text(length: int) -> str:
    """A text of that many characters."""
    return "x" * length


@function()
async def broken_promise() -> Any:
    """Give something that is not what the output schema says."""
    return {"unexpected": True}


@function()
async def who_am_i(ctx: Context) -> Result:
    """Who is calling."""
    return Result.of_data({"user": ctx.caller.username, "tenant": ctx.caller.tenant_slug})


@function()
async def sign_in(user: str, password: str) -> str:
    """Take a secret argument."""
    return f"signed in {user}"
