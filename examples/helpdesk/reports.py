"""Slow reports: started by one request, asked for by others. They are kept in memory and end with the process."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

_STEPS = 20
_KEPT = 100


class Reports:
    """The last hundred reports."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reports: dict[str, dict[str, Any]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, group_by: str, compute: Callable[[], Any]) -> dict[str, Any]:
        """Start a report; `compute` gives its result at the end."""
        report: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "group_by": group_by,
            "status": "running",
            "progress": 0.0,
            "result": None,
        }
        self._reports[report["id"]] = report
        while len(self._reports) > _KEPT:
            del self._reports[next(iter(self._reports))]
        # The loop keeps only weak references to tasks.
        task = asyncio.create_task(self._work(report, compute))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return report

    def find(self, report_id: str) -> dict[str, Any] | None:
        """The report as it is now, or None."""
        return self._reports.get(report_id)

    async def _work(self, report: dict[str, Any], compute: Callable[[], Any]) -> None:
        for step in range(1, _STEPS + 1):
            await asyncio.sleep(self._seconds / _STEPS)
            report["progress"] = round(step / _STEPS, 2)
        report["result"] = compute()
        report["status"] = "done"
