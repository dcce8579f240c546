"""Functions that jobs of tests run: some obey when they are told to stop, some do not."""

import asyncio
import os
import sys
import time
from pathlib import Path

from tools.errors import ToolError, UpstreamTimeout
from tools.functions import Context, function


@function()
async def leave_a_mark(path: str, ctx: Context) -> str:
    """Append which attempt this is to a file: a side effect that can be counted."""
    _mark(path, ctx)
    return "marked"


@function()
async def mark_and_wait(path: str, ctx: Context, until: str = "") -> str:
    """Leave a mark, then wait until there is a file."""
    _mark(path, ctx)
    while not Path(until).is_file():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)
    return "waited"


@function()
def mark_and_look(path: str, ctx: Context) -> str:
    """The same in a thread, looking whether it is told to stop."""
    _mark(path, ctx)
    deadline = time.monotonic() + 60
    while not ctx.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    Path(f"{path}.stopped").write_text("")
    return "stopped"


@function()
def mark_and_ignore(path: str, ctx: Context) -> str:
    """The same, without ever looking."""
    _mark(path, ctx)
    time.sleep(60)
    return "never"


@function()
async def mark_and_block(path: str, ctx: Context) -> str:
    """Hold the event loop itself up."""
    _mark(path, ctx)
    time.sleep(60)  # noqa: ASYNC251 - that is what it is for
    return "never"


@function()
async def fail_at_first(path: str, ctx: Context, how: str = "timeout") -> str:
    """Fail in the first attempt, and not in those that follow."""
    _mark(path, ctx)
    if ctx.attempt == 1:
        raise UpstreamTimeout("not now") if how == "timeout" else ToolError("not like this")
    return f"attempt {ctx.attempt}"


@function()
async def count_up(steps: int, ctx: Context) -> str:
    """Tell how far it is, quickly."""
    for step in range(1, steps + 1):
        await ctx.progress(step, steps, f"step {step} of {steps}")
        await asyncio.sleep(0)
    return "counted"


def _mark(path: str, ctx: Context) -> None:
    with Path(path).open("a") as marks:
        marks.write(f"{ctx.attempt} {os.getpid()}\n")


@function()
async def mark_and_nap(path: str, ctx: Context) -> str:
    """Leave a mark and take a moment."""
    _mark(path, ctx)
    await asyncio.sleep(0.3)
    return "marked"


@function()
async def count_when_told(path: str, steps: int, ctx: Context) -> str:
    """Wait until there is a file, then tell how far it is, quickly."""
    while not Path(path).is_file():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)
    await count_up(steps, ctx)
    return "counted"


@function()
async def mark_and_quit(path: str, ctx: Context, how: str) -> str:
    """Leave a mark, then end in one of the ways in which no tool should."""
    _mark(path, ctx)
    if how == "cancels itself":
        raise asyncio.CancelledError
    if how == "exits":
        sys.exit(3)
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(60)
    return "never"


@function()
async def succeed_when_told_to_stop(path: str, ctx: Context) -> str:
    """Leave a mark and wait; told to stop, take no notice and give a result a moment later."""
    _mark(path, ctx)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0.3)
    return "done all the same"
