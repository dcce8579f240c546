"""Tools that run as jobs: start the hub with TOOL_FUNCTIONS=benchmarks.long."""

from tools.functions import function


@function()
async def give_back(number: int) -> int:
    """Give a number back."""
    return number
