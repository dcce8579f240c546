"""Runs the suite's scenarios for authorization servers, with somebody at the other end of the URL it prints.

The suite plays a client that an admin registered: it prints where a person should go, waits for the answer on a
loopback port and redeems the code. Its folders are `authorization-server-<scenario>-<time>/checks.json`.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import httpx2

from tests.conformance import node
from tests.conformance.suite import CLI, Outcome, outcome

SCENARIOS: Final = {"authorization-server-metadata-endpoint", "authorization-code-grant"}
TIMEOUT: Final = 40.0
FOLDER: Final = re.compile(r"authorization-server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
ASKS: Final = "Access the following URL"

Visit = Callable[[str], str]


def run(
    revision: str, *, issuer: str, client_id: str, resource: str, visit: Visit, results: Path
) -> dict[str, Outcome]:
    """The outcomes by scenario name. client_id: registered with `http://127.0.0.1/callback`, whose port is free."""
    known = ["--url", issuer, "--client-id", client_id, "--resource", resource]
    options = [*known, "--port", str(free_port()), "--spec-version", revision, "--output-dir", str(results)]
    line = node.command(node.install() / CLI, "authorization", *options)
    with subprocess.Popen(
        line, env=node.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        stuck = threading.Timer(TIMEOUT, process.kill)
        stuck.start()
        try:
            said = attend(process.stdout, visit)
        finally:
            stuck.cancel()
            process.kill()
    assert any("=== SUMMARY ===" in spoken for spoken in said), "\n".join(said[-20:])
    return outcomes(results)


def attend(stdout: IO[str] | None, visit: Visit) -> list[str]:
    """Read to the end what the suite says, doing what it asks a person to do."""
    assert stdout is not None
    said: list[str] = []
    for line in stdout:
        if said and said[-1].startswith(ASKS):
            httpx2.get(visit(line.strip()), timeout=10)
        said.append(line.rstrip())
    return said


def outcomes(results: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for folder in results.iterdir():
        named = FOLDER.fullmatch(folder.name)
        assert named, f"The suite wrote a folder this test does not understand: {folder.name}"
        found[named["scenario"]] = outcome(folder / "checks.json")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
