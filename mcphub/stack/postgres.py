"""The embedded Postgres: one cluster in the data folder, found by every command, started and stopped with care."""

import atexit
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mcphub.stack import binaries, cluster, files
from mcphub.stack.account import unprivileged
from mcphub.stack.cluster import APP, DATABASE, OWNER, SUPERUSER, State
from mcphub.stack.errors import StackError
from mcphub.stack.processes import choose_port, dies_with_parent

_START_SECONDS = 120.0
_ORPHAN_SECONDS = 15.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_LOG_BYTES = 10 * 1024 * 1024
# sun_path of a Unix socket address is 108 bytes, 104 on macOS, with the name and a closing zero.
_SOCKET_PATH_BYTES = 100


class Postgres:
    """The Postgres of one data folder.

    `durable=False` turns off everything that makes a commit survive a crash: for throw-away clusters in tests.
    Every error is a StackError whose message is one sentence, with the last lines of the log where they help.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log = self.data_dir / "postgres.log"
        self._durable = durable
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> State:
        """Port, passwords and place of the cluster."""
        state = cluster.load(self.data_dir)
        if state is None:
            raise StackError(f"There is no database in {self.data_dir} yet: `make run` creates it.")
        return state

    @property
    def app_url(self) -> str:
        """For the web and worker processes: a role that owns nothing and obeys row-level security."""
        return self.state.url(APP)

    @property
    def owner_url(self) -> str:
        """For migrations: the role that owns the database."""
        return self.state.url(OWNER)

    @property
    def superuser_url(self) -> str:
        """For administration of the cluster itself; the hub never uses it."""
        return self.state.url(SUPERUSER, "postgres")

    @property
    def cluster(self) -> Path:
        """The folder Postgres keeps its files in."""
        return self.data_dir / self.state.cluster

    def url(self, role: str, database: str = DATABASE) -> str:
        """The URL of any role and database of this cluster."""
        return self.state.url(role, database)

    def create_database(self, name: str) -> None:
        """A further database with the same owner and rights as the hub's."""
        cluster.create_database(self.state, name)

    def pid(self) -> int | None:
        """The process id of the running server, or None."""
        state = cluster.load(self.data_dir)
        return _postmaster(self.data_dir / state.cluster) if state else None

    def running(self) -> bool:
        """Whether the server process lives."""
        return self.pid() is not None

    def start(self, *, tied: bool = False) -> None:
        """Create the cluster if need be and start it; returns when it takes connections.

        tied: the server shuts down when this process ends, even by kill -9 (Linux). An orphan of a killed run is
        then stopped and replaced; a server that another command uses at the moment is left running and shared.
        """
        _make_data_folder(self.data_dir)
        with files.locked(self._lock):
            if tied and self.running() and not files.held(self._users):
                self._stop()
            if not self.running():
                self._start(tied=tied)
            if not self.state.provisioned:
                self._provision()

    def stop(self) -> None:
        """Stop the server, whoever uses it. Does nothing when it does not run."""
        if self.data_dir.is_dir():
            with files.locked(self._lock):
                self._stop()

    def remove(self) -> None:
        """Stop the server and delete its data for good, also where root had to place it elsewhere."""
        self.stop()
        state = cluster.load(self.data_dir)
        if state is not None:
            place = self.data_dir / state.cluster
            shutil.rmtree(place, ignore_errors=True)
            if place.is_relative_to(binaries.SHARED):
                shutil.rmtree(place.parent, ignore_errors=True)
            (self.data_dir / cluster.STATE).unlink()

    def use(self, *, tied: bool = False) -> Callable[[], None]:
        """Start the server unless it runs, and hold it: it stays up until the last process that uses it lets go.

        Returns the function that lets go; the last one out stops the server.
        """
        _make_data_folder(self.data_dir)
        self.start(tied=tied)
        with files.locked(self._lock):
            lease = files.Lease(self._users)
        # Between the two, the last user before us may have stopped it.
        self.start(tied=tied)
        return lambda: self._let_go(lease)

    @property
    def _lock(self) -> Path:
        return self.data_dir / "postgres.lock"

    @property
    def _users(self) -> Path:
        return self.data_dir / "postgres.users"

    def _let_go(self, lease: files.Lease) -> None:
        # Without the folder there is nothing left to find the server by, and nothing left to keep.
        if not self.data_dir.is_dir():
            return
        with files.locked(self._lock):
            if lease.release():
                self._stop()

    def _start(self, *, tied: bool) -> None:
        account = unprivileged()
        programs = binaries.find(account)
        state = cluster.ensure_made(self.data_dir, programs, account, durable=self._durable)
        port = choose_port(state.port)
        if port != state.port:
            state = state.at_port(port)
            state.save(self.data_dir)
        (self.data_dir / state.cluster / "postmaster.pid").unlink(missing_ok=True)
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not self._launch(programs, state, tied=tied):
            # The children of a killed server take a moment to notice; until then it must not be started again.
            if time.monotonic() > deadline:
                raise StackError(f"Processes of a killed Postgres still use {self.cluster}: end them and try again.")
            time.sleep(_POLL_SECONDS)

    def _launch(self, programs: Path, state: State, *, tied: bool) -> bool:
        """One attempt. False when only the remains of a killed server were in the way."""
        _rotate(self.log)
        # Failing statements are logged, with whatever data is in them.
        self.log.touch(mode=0o600)
        account = unprivileged()
        self._child_pid()  # reaps a predecessor that was killed
        with self.log.open("ab") as log:
            written = log.tell()
            self._child = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(self.cluster), *self._settings(state)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGINT) if tied else None,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _ready(self.cluster, self._child.pid):
            if self._child.poll() is not None:
                news = _read_from(self.log, written)
                if "is still in use" in news or "lock file" in news:
                    return False
                raise StackError(f"Postgres did not start: {_explain(news)}")
            if time.monotonic() > deadline:
                self._stop()
                raise StackError(f"Postgres did not start within {_START_SECONDS:.0f} seconds; see {self.log}.")
            time.sleep(_POLL_SECONDS)
        return True

    def _settings(self, state: State) -> list[str]:
        folder = str(self.cluster)
        socket_folder = folder if len(f"{folder}/.s.PGSQL.{state.port}".encode()) <= _SOCKET_PATH_BYTES else ""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(state.port),
            "unix_socket_directories": socket_folder,
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": "256MB" if self._durable else "64MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
            settings["max_connections"] = "800"  # many test processes, each with servers and workers of its own
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _provision(self) -> None:
        state = self.state
        cluster.provision(state)
        State(cluster=state.cluster, port=state.port, passwords=state.passwords, provisioned=True).save(self.data_dir)

    def _stop(self) -> None:
        """Fast shutdown, then an immediate one, then kill: each loses no commit, the later ones cost a recovery."""
        for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            pid = self.pid() or self._child_pid()
            if pid is None:
                break
            os.kill(pid, signum)
            if self._gone(pid, _STOP_SECONDS):
                break
        self._child = None

    def _child_pid(self) -> int | None:
        return self._child.pid if self._child and self._child.poll() is None else None

    def _gone(self, pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child_pid() != pid and self.pid() != pid:
                return True
            time.sleep(_POLL_SECONDS)
        return False


def find_running(data_dir: Path) -> Postgres | None:
    """The Postgres of `data_dir` when its server runs, whoever started it."""
    postgres = Postgres(data_dir)
    return postgres if postgres.running() else None


def urls(data_dir: Path) -> tuple[str, str] | None:
    """(application URL, owner URL) of the running Postgres of `data_dir`, or None. Costs two small file reads."""
    postgres = find_running(data_dir)
    return (postgres.app_url, postgres.owner_url) if postgres else None


def ensure_started(data_dir: Path, *, durable: bool = True) -> Postgres:
    """The running Postgres of `data_dir` for the life of this process, started when it does not run.

    For one-off commands: at exit the last process that asked stops the server, unless `make run` keeps it up.
    """
    postgres = Postgres(data_dir, durable=durable)
    let_go, asked = postgres.use(), os.getpid()
    # A forked child inherits the handler, not the duty.
    atexit.register(lambda: let_go() if os.getpid() == asked else None)
    return postgres


def _make_data_folder(data_dir: Path) -> None:
    try:
        files.make_folder(data_dir)
        (data_dir / "postgres.lock").touch(mode=0o600)
    except OSError as problem:
        raise StackError(f"DATA_DIR {data_dir} cannot be used: {problem.strerror or problem}.") from None


def _postmaster(path: Path) -> int | None:
    """The server's pid from postmaster.pid, if that process is indeed the server of this cluster.

    After a crash the number may by now be another program's. A server works in its cluster's folder, which also tells
    it after the folder was moved; mistaking a live server for a dead one would let a second one damage the data.
    """
    try:
        pid = int((path / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        ours = process.name().startswith("postgres") and Path(process.cwd()) == path.resolve()
    except (FileNotFoundError, ValueError, psutil.Error):
        # AccessDenied too: what an ordinary user may not look at is not the server they started.
        return None
    except PermissionError:
        raise StackError(f"The database in {path} belongs to another user: run this as that user.") from None
    return pid if ours else None


def _ready(path: Path, pid: int) -> bool:
    """The eighth line of postmaster.pid turns to `ready` when connections are taken."""
    try:
        lines = (path / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _read_from(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def _explain(news: str) -> str:
    """What the log says is wrong, in a sentence and at most three of its lines."""
    if "No space left on device" in news:
        return "the disk is full."
    lines = news.strip().splitlines()
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "DETAIL", "HINT"))]
    return "; ".join(line.split("] ", 1)[-1].strip() for line in (telling or lines)[-3:]) or "it said nothing."
