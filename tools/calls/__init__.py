"""Running a call: the one business function. Hosts, the admin's “try it”, the command line and tests all enter here.

It has two halves, so that a job can lie between them: `prepare` judges, charges and says what is ready to run, or who
has to say yes to it first; `execute` records, runs and records. `run` is both. `complete` goes between them for a tool
that asks beforehand.
"""

from tools.calls.entrance import Check, agree, complete, prepare, prepare_tool, run, run_tool
from tools.calls.entry import refuse, row
from tools.calls.execution import WAITS, Before, execute
from tools.calls.judging import count
from tools.calls.values import Asked, Pending, Ready

__all__ = [
    "WAITS",
    "Asked",
    "Before",
    "Check",
    "Pending",
    "Ready",
    "agree",
    "complete",
    "count",
    "execute",
    "prepare",
    "prepare_tool",
    "refuse",
    "row",
    "run",
    "run_tool",
]
