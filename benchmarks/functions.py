"""The bench tools as functions of the hub: start it with TOOL_FUNCTIONS=benchmarks.functions."""

from benchmarks.catalog import TOOLS
from tools.functions import function

for _tool in TOOLS:
    function()(_tool)
