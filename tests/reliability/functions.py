"""Tools whose side effects are counted outside the hub: each run appends its number to a file.

The file outlives every process that may be killed. One short write with O_APPEND is whole or absent.
"""

import asyncio
import os
import time

from tools.functions import Context, function


def _mark(number: int) -> None:
    file = os.open(os.environ["CHAOS_MARKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, b"%d\n" % number)
    finally:
        os.close(file)


@function()
async def leave_a_mark(ctx: Context, number: int, seconds: float) -> str:
    """Append a number to the file, then take so many seconds; the number comes back."""
    _mark(number)
    for step in range(1, 5):
        await asyncio.sleep(seconds / 4)
        await ctx.progress(step, 4)
    return str(number)


@function()
def leave_a_mark_in_a_thread(number: int, seconds: float) -> str:
    """The same from a thread, which does not let itself be interrupted."""
    _mark(number)
    time.sleep(seconds)
    return str(number)
