"""What a tool says before it is done, told without secrets and without what nobody sees: how far it is, what it logs,
and what it asks a person."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from tools import clean
from tools.catalog import LiveTool
from tools.threads import Crew
from tools.values import Asks, CalledBack, Question, Reply, Report, Resumable, Silent

_MUCH = 8192
"""Characters from which on a thread looks through a text, as it does through whatever is none."""
_cleaners = Crew("tools.saying", 1)


class _Asker(Report, Asks, Protocol):
    """A Report whose follower can be asked."""


class _JobReport(_Asker, Resumable, CalledBack, Protocol):
    """The Report of a job."""


_Of = TypeVar("_Of", bound=Report)
_OfAsker = TypeVar("_OfAsker", bound=_Asker)


def cleaned(report: Report, tool: LiveTool, *, tenant_id: int) -> Report:
    """The same report, which cleans what the tool says before it tells it."""
    if tool.cleaner is None or isinstance(report, Silent):
        return report
    able = _able.get(type(report))
    if able is None:
        able = _able[type(report)] = _able_of(report)
    return able(report, tool, tenant_id)


def _able_of(report: Report) -> "type[_Telling[Any]]":
    """What can do as much as the report can. Looking at it is slow, and the same for all of its class."""
    if not isinstance(report, Asks):
        return _Telling
    return _OfJob if isinstance(report, Resumable) and isinstance(report, CalledBack) else _Asking


def questions(asked: Mapping[str, Question], tool: LiveTool) -> Mapping[str, Question]:
    """The questions as they may be shown to a person."""
    return {
        key: replace(one, message=clean.remark(tool, one.message), schema=clean.remark(tool, dict(one.schema)))
        for key, one in asked.items()
    }


class _Telling(Generic[_Of]):
    """Cleans, and leaves the telling to the report that it stands before."""

    def __init__(self, report: _Of, tool: LiveTool, tenant_id: int):
        self._report = report
        self._tool = tool
        self._tenant_id = tenant_id

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        await self._report.progress(progress, total, None if message is None else await self._cleaned(message))

    async def log(self, level: str, data: Any) -> None:
        await self._report.log(level, await self._cleaned(data))

    async def _cleaned(self, said: Any) -> Any:
        if isinstance(said, str) and len(said) < _MUCH:
            return clean.remark(self._tool, said)
        return await _cleaners.run_for(self._tenant_id, clean.remark, self._tool, said)


class _Asking(_Telling[_OfAsker]):
    async def ask(self, asked: Mapping[str, Question]) -> Mapping[str, Reply]:
        return await self._report.ask(questions(asked, self._tool))


class _OfJob(_Asking[_JobReport]):
    @property
    def upstream(self) -> Mapping[str, Any] | None:
        return self._report.upstream

    @property
    def handed_back(self) -> bool:
        return self._report.handed_back

    async def keep(self, upstream: Mapping[str, Any]) -> None:
        await self._report.keep(upstream)

    def callback_url(self) -> str:
        return self._report.callback_url()

    async def called_back(self, seconds: float) -> bytes | None:
        return await self._report.called_back(seconds)


_able: dict[type[Report], type[_Telling[Any]]] = {}
