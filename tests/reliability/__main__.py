"""`python -m tests.reliability`: one long run; the exit code is 0 when every promise was kept."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.reliability import sabotage
from tests.reliability.chaos import run
from tests.reliability.hub import Plan
from tests.reliability.parts import redis_server

_PER_SECOND = 500 / 75
"""Calls: so many that the workers always have something to lose."""


def main() -> int:
    given = _parser().parse_args()
    if given.redis and redis_server() is None:
        _say("THE RUN ON REDIS IS SKIPPED: neither `redis-server` nor `valkey-server` is installed.")
        return 0
    plan = Plan(
        jobs=given.jobs,
        seed=given.seed,
        seconds=given.seconds or given.jobs / _PER_SECOND,
        redis=given.redis,
        broker=given.broker,
        drain=True,
        sabotage=given.sabotage,
    )
    folder = Path(tempfile.mkdtemp(prefix="mcphub-chaos-"))
    folder.chmod(0o755)  # Postgres may run as another account
    report = run(plan, folder, _say)
    _say(f"\n{report}")
    for complaint in report.complaints:
        _say(f"  {complaint}")
    _say(f"{len(report.complaints)} promises broken; logs are in {folder}" if report.complaints else "All kept.")
    return 1 if report.complaints else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="which kills, and which calls")
    parser.add_argument("--seconds", type=float, help="how long calls come in; default: by the number of jobs")
    parser.add_argument("--redis", action="store_true", help="Redis as the broker, killed and flushed in the middle")
    parser.add_argument("--broker", default="", help="the URL of a broker that runs already and is left alone")
    parser.add_argument(
        "--sabotage", choices=sabotage.KINDS, default="", help="break the hub on purpose: the run must then fail"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
