"""Runs the protocol's conformance suite against one endpoint and reads what it found.

The suite writes one folder per scenario, `server-<scenario>-<time>/checks.json`; its printed summary counts only
failures and calls a scenario that proved nothing a success, so the checks themselves are read here.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.conformance import node

REVISIONS: Final = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
TIMEOUT: Final = 80.0
"""Seconds for a whole revision; a healthy one takes about two."""

CLI: Final = Path("@modelcontextprotocol", "conformance", "dist", "index.js")
NOTHING_EXERCISED: Final = "nothing-exercised"
"""The check, ours, that a scenario lacks which ran without a single success."""

FOLDER: Final = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


class Endpoint(Protocol):
    """Where the hub serves the fixture tenant, and a key for it."""

    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one scenario found: the ids of the checks that failed or warned, with their messages."""

    lacking: dict[str, str]

    @property
    def passed(self) -> bool:
        return not self.lacking


def run(revision: str, endpoint: Endpoint, results: Path) -> dict[str, Outcome]:
    """Run every server scenario of `revision`; the outcomes by scenario name. `results` is an empty folder."""
    options = ["--url", endpoint.url, "--suite", "all", "--spec-version", revision, "--output-dir", str(results)]
    line = node.command("--import", node.HERE / "authorize.mjs", node.install() / CLI, "server", *options)
    environment = node.environment(MCPHUB_URL=endpoint.url, MCPHUB_API_KEY=endpoint.api_key)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    # 1 is its answer when a check failed; anything without a summary is a run that never got to the end.
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert "=== SUMMARY ===" in done.stdout, (done.stdout + done.stderr)[-2000:]
    return dict(outcomes(results))


def run_scenario(name: str, endpoint: Endpoint, results: Path) -> Outcome:
    """Run one scenario by its name, which is how those of extensions are run. `results` is an empty folder."""
    options = ["--url", endpoint.url, "--scenario", name, "--output-dir", str(results)]
    line = node.command("--import", node.HERE / "authorize.mjs", node.install() / CLI, "server", *options)
    environment = node.environment(MCPHUB_URL=endpoint.url, MCPHUB_API_KEY=endpoint.api_key)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    found = dict(outcomes(results))
    assert set(found) == {name}, (done.stdout + done.stderr)[-2000:]
    return found[name]


def outcomes(results: Path) -> Iterator[tuple[str, Outcome]]:
    for folder in sorted(results.iterdir()):
        named = FOLDER.fullmatch(folder.name)
        assert named, f"The suite wrote a folder this test does not understand: {folder.name}"
        yield named["scenario"], outcome(folder / "checks.json")


def outcome(checks_file: Path) -> Outcome:
    if not checks_file.exists():
        return Outcome(lacking={"scenario-crashed": "The suite wrote no checks"})
    checks: list[dict[str, Any]] = json.loads(checks_file.read_text())
    lacking = {check["id"]: check.get("errorMessage") or check["description"] for check in checks if lacks(check)}
    if not lacking and not any(check["status"] == "SUCCESS" for check in checks):
        # The suite calls this a success; it says nothing about the hub.
        lacking = {NOTHING_EXERCISED: "The suite found nothing here to exercise"}
    return Outcome(lacking=lacking)


def lacks(check: dict[str, Any]) -> bool:
    """A WARNING is a SHOULD the hub does not keep: as much a finding as a FAILURE."""
    return check["status"] not in {"SUCCESS", "INFO", "SKIPPED"}
