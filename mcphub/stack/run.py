"""`make run`: database, migrations, demo tenant, example service, web server, workers and beat, and what keeps them
alive."""

import contextlib
import errno
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.worker.stopping import GONE_AFTER
from mcphub.stack import files
from mcphub.stack.card import card
from mcphub.stack.claim import Claim, only_run
from mcphub.stack.config import Config
from mcphub.stack.errors import StackError
from mcphub.stack.postgres import Postgres
from mcphub.stack.processes import choose_port, dies_with_parent, port_is_free
from mcphub.stack.secret_files import ensure_secrets, helpdesk_access, remember_helpdesk
from mcphub.stack.supervisor import (
    Database,
    Interrupted,
    Process,
    ProcessSpec,
    Roster,
    Service,
    Supervisor,
    inherited,
    raise_on_signals,
)

_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_SHOWN_LINES = 6
# What the example service has no use for.
_SECRETS = frozenset({"DATABASE_URL", "SECRET_KEY", "SEAL_KEYS"})
# Without the proxies of the environment: they know nothing of this machine's loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(line: str) -> None:
    """A progress line. A reader that went away does not stop the hub."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def run(configure: Callable[[], Config]) -> int:
    """Run the stack until a stop signal; the exit code. Everything that can be foreseen to fail is one sentence."""
    raise_on_signals()
    try:
        config = configure()
        _make_data_folder(config.data_dir)
        with only_run(config.data_dir) as claim:
            Stack(config, claim).run()
    except StackError as problem:
        return _fail(str(problem))
    except OSError as problem:
        return _fail(f"The disk is full: {problem}." if problem.errno == errno.ENOSPC else f"{problem}.")
    except Interrupted:
        return 0
    return 0


def _fail(sentence: str) -> int:
    with contextlib.suppress(OSError):
        print(f"mcphub: {sentence}", file=sys.stderr, flush=True)
    return 1


def _make_data_folder(data_dir: Path) -> None:
    try:
        files.make_folder(data_dir)
    except OSError as problem:
        raise StackError(f"DATA_DIR {data_dir} cannot be created: {problem.strerror}.") from None


class Stack:
    """Everything on one machine."""

    def __init__(self, config: Config, claim: Claim) -> None:
        self._config = config
        self._claim = claim
        self._roster = Roster(config.data_dir / "children.json")
        self._supervisor = Supervisor(say)
        self._env = inherited(
            DATA_DIR=str(config.data_dir), PORT=str(config.port), BASE_URL=config.base_url, PYTHONUNBUFFERED="1"
        )
        # Whoever gets to run code in the web server must not find the way past row-level security in its environment.
        self._owner_url = self._env.pop("DATABASE_OWNER_URL", "")

    def run(self) -> None:
        """Start in order, print the card, look after it; always stops what it started."""
        try:
            self._start()
            while True:
                time.sleep(_LOOK_SECONDS)
                self._supervisor.look_after()
        finally:
            self._claim.say_stopping()
            if self._supervisor.keeps_any:
                say("Stopping ...")
            self._supervisor.stop()

    def _start(self) -> None:
        for name in self._roster.clear_leftovers():
            say(f"Stopped the {name} that a killed run had left.")
        if not port_is_free(self._config.port):
            raise StackError(
                f"Port {self._config.port} is in use by another program: set PORT to another, "
                f"as in `PORT={self._config.port + 1} make run`."
            )
        ensure_secrets(self._config.data_dir)
        self._start_database()
        say("Migrating the database ...")
        self._manage("migrate", "--no-input")
        helpdesk_url, token = self._start_helpdesk()
        say("Preparing the demo tenant ...")
        demo = self._demo(helpdesk_url, token)
        self._start_web()
        self._start_workers()
        say(card(demo, self._config.data_dir, workers=self._config.job_workers))

    def _start_database(self) -> None:
        config = self._config
        if config.database_url:
            say("Using the database of DATABASE_URL.")
            return
        postgres = Postgres(config.data_dir)
        say("Starting Postgres ...")
        self._supervisor.start(Database(postgres))
        if not postgres.cluster.is_relative_to(config.data_dir):
            say(f"Its data is in {postgres.cluster}, as the account it runs as cannot enter {config.data_dir}.")
        self._env["DATABASE_URL"], self._owner_url = postgres.app_url, postgres.owner_url

    def _start_helpdesk(self) -> tuple[str, str]:
        data_dir = self._config.data_dir
        before, token = helpdesk_access(data_dir)
        port = choose_port(before)
        remember_helpdesk(data_dir, port, token)
        argv = ["-m", "examples.helpdesk", "--port", str(port), "--data", str(data_dir / "helpdesk.json")]
        say("Starting the example service ...")
        url = f"http://127.0.0.1:{port}"
        env = {name: value for name, value in self._env.items() if name not in _SECRETS}
        self._start_process("example service", argv, f"{url}/health", {**env, "HELPDESK_TOKEN": token})
        return url, token

    def _start_web(self) -> None:
        config = self._config
        argv = ["-m", "uvicorn", config.app, "--host", "127.0.0.1", "--port", str(config.port)]
        argv += ["--workers", str(config.workers), "--loop", "uvloop", "--http", "httptools"]
        argv += ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "5"]
        argv += [] if config.behind_proxy else ["--no-proxy-headers"]
        say("Starting the web server ...")
        self._start_process("web server", argv, f"{config.local_url}/readyz", self._env)

    def _start_workers(self) -> None:
        """The workers, and the beat that calls them to their chores; without it jobs run all the same."""
        config = self._config
        ready = config.data_dir / "workers-ready"
        ready.unlink(missing_ok=True)
        argv = ["-m", config.worker, "--processes", str(config.job_workers), "--ready", str(ready)]
        say("Starting the workers ...")
        workers = self._keep("worker", argv, self._env, stop_seconds=config.drain + GONE_AFTER)
        self._keep("beat", ["-m", config.worker, "--beat"], self._env)
        _wait_for_file(workers, ready)

    def _start_process(self, name: str, argv: list[str], ready_url: str, env: Mapping[str, str]) -> None:
        """Start and keep one of our Python processes, and wait until it says that it is ready."""
        _wait_ready(self._keep(name, argv, env), ready_url)

    def _keep(self, name: str, argv: list[str], env: Mapping[str, str], *, stop_seconds: float = 10.0) -> Process:
        spec = ProcessSpec(
            name=name,
            argv=(sys.executable, *argv),
            cwd=self._config.root,
            env=dict(env),
            stop_seconds=stop_seconds,
        )
        process = Process(spec, self._roster)
        self._supervisor.start(process)
        return process

    def _demo(self, helpdesk_url: str, token: str) -> dict[str, Any]:
        base = ("--base-url", self._config.base_url)
        said = self._manage("demo", *base, "--helpdesk-url", helpdesk_url, HELPDESK_TOKEN=token)
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise StackError("`manage.py demo` did not answer with a JSON object.")
        return answer

    def _manage(self, command: str, *arguments: str, **env: str) -> str:
        """Run a management command, with the owner's rights at hand; what it printed on stdout."""
        outcome = subprocess.run(
            [sys.executable, "manage.py", command, *arguments],
            cwd=self._config.root,
            env={**self._env, "DATABASE_OWNER_URL": self._owner_url, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )
        if outcome.returncode:
            tail = (outcome.stderr.strip() or outcome.stdout.strip()).splitlines()[-_SHOWN_LINES:]
            raise StackError(f"`manage.py {command}` failed; its last lines:\n  " + "\n  ".join(tail))
        return outcome.stdout


def _wait_ready(service: Service, url: str) -> None:
    """Ask `url` until it answers 200; raises StackError when the process ends first or takes too long."""
    deadline = time.monotonic() + _READY_SECONDS
    answer = "nothing"
    while time.monotonic() < deadline:
        _must_live(service)
        try:
            with _direct.open(url, timeout=5):
                return
        except urllib.error.HTTPError as problem:
            answer = f"{problem.code} {problem.read(300).decode(errors='replace')}".strip()
            problem.close()
        except OSError:
            answer = "nothing"
        time.sleep(0.05)
    raise StackError(f"The {service.name} did not get ready in {_READY_SECONDS:.0f} s; {url} answered {answer}.")


def _wait_for_file(service: Service, file: Path) -> None:
    """The same for a process that is ready once it has written a file."""
    deadline = time.monotonic() + _READY_SECONDS
    while not file.exists():
        _must_live(service)
        if time.monotonic() > deadline:
            raise StackError(f"The {service.name} did not get ready in {_READY_SECONDS:.0f} s.")
        time.sleep(0.05)


def _must_live(service: Service) -> None:
    if not service.alive():
        raise StackError(f"The {service.name} {service.ending()} while starting; what it said is above.")
