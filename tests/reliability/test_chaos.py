"""A short run on every `make test`. The long ones are `make chaos` and `make chaos-redis`."""

from pathlib import Path

from tests.reliability.chaos import run
from tests.reliability.hub import Plan

SHORT = Plan(jobs=40, seed=3, seconds=12, settle=240, lease=2, pause=(0.4, 0.9), longest=1.2)


def test_nothing_accepted_is_lost_and_no_side_effect_is_doubled_while_everything_is_killed(tmp_path: Path) -> None:
    told: list[str] = []
    report = run(SHORT, tmp_path, told.append)
    assert report.complaints == [], "\n".join([*told, str(report), *map(str, tmp_path.glob("*.log"))])
    assert {"web-1", "workers", "beat", "postgres", "a child of workers"} <= report.kills.keys(), told
