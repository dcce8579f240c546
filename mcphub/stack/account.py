"""Postgres refuses to run as root: the account it runs as instead, and what that account can reach."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mcphub.stack.errors import StackError

NAME = "mcphub-postgres"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who Postgres runs as when it cannot run as the caller."""

    name: str
    uid: int
    gid: int

    def owns(self, path: Path) -> None:
        """Give `path`, and all below it, to this account."""
        for entry in (path, *path.rglob("*")):
            os.chown(entry, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether every folder above `path` lets this account through."""
        return self.barrier(path) is None

    def barrier(self, path: Path) -> Path | None:
        """The first folder above `path` that does not let this account through."""
        return next((parent for parent in reversed(path.parents) if not self._passes(parent)), None)

    def _passes(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def unprivileged() -> Account | None:
    """None for an ordinary user, who runs Postgres as themselves; for root an account without shell, home or
    password, created the first time."""
    if os.geteuid() != 0:
        return None
    return _known() or _created()


def _known() -> Account | None:
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    return Account(name=NAME, uid=entry.pw_uid, gid=entry.pw_gid)


def _created() -> Account:
    """Two first runs at once may both get here; the slower one finds the account of the faster."""
    useradd = shutil.which("useradd")
    if useradd is None:
        command = ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", NAME]
    else:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        said = outcome.stderr.strip()
    except FileNotFoundError:
        said = "neither useradd nor adduser is installed"
    account = _known()
    if account is None:
        raise StackError(
            f"Postgres cannot run as root, and the account {NAME} to run it as could not be created ({said}): "
            "run this as an ordinary user, or set DATABASE_URL to a Postgres that runs already."
        )
    return account
