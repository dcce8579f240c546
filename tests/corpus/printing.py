"""What the corpus came to, as a table at the end of a run, also when the tests ran in several processes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

PROPERTY: Final = "attack corpus"
"""Of a test's report: the figures of one class, or what one case at the front door came to."""
COLUMNS: Final = ("attacks", "caught", "harmless", "alarms")
_TITLES: Final = ("class", "attacks", "caught", "harmless", "false alarms")
_NOTHING: Final = dict.fromkeys(COLUMNS, 0)


def gathered(reports: Iterable[Any]) -> dict[str, dict[str, int]]:
    """The figures of each class, from the reports of the tests that have some. Cases at the front door are added up."""
    found: dict[str, dict[str, int]] = {}
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == PROPERTY and report.when == "call":
                figures = found.setdefault(value["class"], dict(_NOTHING))
                for column in COLUMNS:
                    figures[column] += value[column]
    return dict(sorted(found.items()))


def lines(found: Mapping[str, Mapping[str, int]], known: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A table, with a word beside each class that is no longer what its figures say."""
    yield _row(_TITLES)
    for name, figures in found.items():
        beside = _beside(figures, known[name]) if name in known else ""
        yield _row((name, *(figures[column] for column in COLUMNS))) + beside
    if len(found) > 1:
        yield _row(("all", *(sum(figures[column] for figures in found.values()) for column in COLUMNS)))


def got_worse(now: Mapping[str, int], known: Mapping[str, int]) -> bool:
    """Whether it catches less than it did, or alarms more."""
    missed = now["attacks"] - now["caught"] > known["attacks"] - known["caught"]
    return missed or now["caught"] < known["caught"] or now["alarms"] > known["alarms"]


def _beside(now: Mapping[str, int], known: Mapping[str, int]) -> str:
    if all(now[column] == known[column] for column in COLUMNS):
        return ""
    part = now["attacks"] < known["attacks"] or now["harmless"] < known["harmless"]
    if part and now["caught"] == now["attacks"] and not now["alarms"]:
        return "  in part"
    if got_worse(now, known):
        return "  WORSE than tests/corpus/figures.yaml says"
    return "  better: raise it in tests/corpus/figures.yaml"


def _row(cells: Iterable[object]) -> str:
    first, *rest = map(str, cells)
    return f"{first:<14}" + "".join(f"{cell:>14}" for cell in rest)
