"""Making a database cluster and the roles in it; nothing here starts or stops a server."""

import contextlib
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from mcphub.stack import binaries
from mcphub.stack.account import Account
from mcphub.stack.errors import StackError
from mcphub.stack.files import make_folder, read_record, write_record
from mcphub.stack.processes import choose_port

SUPERUSER, OWNER, APP = "postgres", "mcphub_owner", "mcphub_app"
DATABASE = "mcphub"
STATE = "postgres.json"
_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class State:
    """What `DATA_DIR/postgres.json` (mode 0600) remembers. `cluster` is relative while it lies in the data folder, so
    that a moved clone finds its data."""

    cluster: str
    port: int
    passwords: dict[str, str]
    provisioned: bool = False

    def save(self, data_dir: Path) -> None:
        write_record(data_dir / STATE, asdict(self))

    def at_port(self, port: int) -> "State":
        return replace(self, port=port)

    def url(self, role: str, database: str = DATABASE) -> str:
        """A libpq URL over loopback TCP."""
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"


def load(data_dir: Path) -> State | None:
    """The remembered state, or None when no cluster was ever made here."""
    try:
        record = read_record(data_dir / STATE)
        return State(**record) if record else None
    except (ValueError, TypeError):
        raise StackError(
            f"{data_dir / STATE} is damaged: restore it from a backup, or move {data_dir} away to start afresh."
        ) from None


def ensure_made(data_dir: Path, programs: Path, account: Account | None, *, durable: bool) -> State:
    """The state of the cluster of `data_dir`, which is created when there is none. Call it with the lock held."""
    state = load(data_dir)
    if state is None:
        state = _choose(data_dir, account)
        state.save(data_dir)
    path = data_dir / state.cluster
    if not (path / "PG_VERSION").exists():
        if path.exists() and any(path.iterdir()):
            raise StackError(
                f"{path} is not a Postgres data folder (it has no PG_VERSION): "
                f"restore it from a backup, or move it and {data_dir / STATE} away to start afresh."
            )
        _initdb(state, path, programs, account, durable=durable)
        state = replace(state, provisioned=False)
        state.save(data_dir)
    _check_usable(path, programs, account)
    return state


def _choose(data_dir: Path, account: Account | None) -> State:
    inside = data_dir / "postgres"
    if inside.exists():
        raise StackError(
            f"{inside} exists, but {data_dir / STATE} with its passwords does not: "
            "restore that file from a backup, or move the folder away to start afresh."
        )
    passwords = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, OWNER, APP)}
    cluster = "postgres" if account is None or account.reaches(inside) else _elsewhere(account, inside)
    return State(cluster=cluster, port=choose_port(), passwords=passwords)


def _elsewhere(account: Account, inside: Path) -> str:
    """A folder the account can reach, for a data folder that lies behind one it cannot, such as /root."""
    try:
        make_folder(binaries.SHARED)
        folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=binaries.SHARED))
        folder.chmod(0o711)
    except OSError as problem:
        raise StackError(
            f"The account {account.name}, which Postgres runs as because you are root, cannot enter "
            f"{account.barrier(inside)}: set DATA_DIR to a folder it can reach ({problem})."
        ) from None
    return str(folder / "postgres")


def _initdb(state: State, path: Path, programs: Path, account: Account | None, *, durable: bool) -> None:
    """Built beside its place and renamed, so that a run killed halfway leaves nothing that looks like a cluster."""
    free = shutil.disk_usage(path.parent).free
    if free < _FREE_BYTES:
        raise StackError(
            f"The disk of {path.parent} is full: {free // 2**20} MB are free, Postgres needs {_FREE_BYTES // 2**20} MB."
        )
    draft, password_file = path.with_name("postgres.new"), path.with_name("postgres.password")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(state.passwords[SUPERUSER])
    if account is not None:
        account.owns(draft)
        account.owns(password_file)
    try:
        _run_initdb(draft, password_file, programs, account, durable=durable)
    finally:
        password_file.unlink()
    if path.is_dir():
        path.rmdir()
    draft.rename(path)


def _run_initdb(draft: Path, password_file: Path, programs: Path, account: Account | None, *, durable: bool) -> None:
    command = [str(programs / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", *_locale(binaries.major_version(programs))]
    command += [] if durable else ["--no-sync"]
    outcome = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if outcome.returncode:
        raise StackError(f"Postgres could not create its data folder: {_reason(outcome.stderr or outcome.stdout)}")


def _locale(major: int) -> list[str]:
    """UTF-8 by code point, which is the same on every machine; from Postgres 17 on without the C library's help."""
    if major >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale=C.UTF-8"]


def _reason(output: str) -> str:
    if "No space left on device" in output:
        return "the disk is full."
    lines = [line for line in output.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
    return " ".join(lines[:2]) or output.strip()[-300:]


def _check_usable(path: Path, programs: Path, account: Account | None) -> None:
    barrier = account.barrier(path) if account else None
    if account and barrier:
        raise StackError(
            f"The account {account.name}, which Postgres runs as because you are root, cannot enter {barrier}: "
            f"run `chmod o+x {barrier}`, or set DATA_DIR to another folder."
        )
    made, have = (path / "PG_VERSION").read_text().strip(), binaries.major_version(programs)
    if made != str(have):
        raise StackError(
            f"{path} was made by Postgres {made}, but the programs in {programs} are Postgres {have}: "
            f"set POSTGRES_BIN to the programs of Postgres {made}, or move the data with pg_dump."
        )


def provision(state: State) -> None:
    """Create the two roles and the database; running it again mends what is missing.

    The owner runs migrations and owns the tables. The application role owns nothing and cannot step around
    row-level security, so a query that forgets its tenant reads nothing.
    """
    with psycopg.connect(state.url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=10) as connection:
        for role in (OWNER, APP):
            _create_role(connection, role, state.passwords[role])
        connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    create_database(state, DATABASE)


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    with contextlib.suppress(psycopg.errors.DuplicateObject):
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
    connection.execute(sql.SQL("ALTER ROLE {} " + rights).format(name, sql.Literal(password)))


def create_database(state: State, name: str) -> None:
    """A database that the owner role owns and only the two roles may enter. Does nothing when it exists."""
    database, owner, app = sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(APP)
    with psycopg.connect(state.url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=10) as connection:
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, app))
