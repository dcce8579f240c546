"""`make run` as a user meets it: one process to start and to stop, with a stand-in for the hub's own application."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest

from mcphub.stack.postgres import Postgres, find_running
from mcphub.stack.processes import port_is_free, started_at
from mcphub.stack.supervisor import Roster

ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

DRIVER = """
import dataclasses, sys
from pathlib import Path
from mcphub.stack.config import from_environment
from mcphub.stack.processes import end_with_parent
from mcphub.stack.run import run
if sys.argv[1:] == ["--with-parent"]:
    end_with_parent()
sys.exit(run(lambda: dataclasses.replace(from_environment(Path.cwd()), app="standin:app", worker="standin_worker")))
"""
MANAGE = """
import json, os, sys
import psycopg
if sys.argv[1] == "migrate":
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (n int)")
        connection.execute("INSERT INTO runs VALUES (1)")
else:
    base = os.environ["BASE_URL"]
    print(json.dumps({"admin_url": f"{base}/admin/", "username": "admin", "password": None,
                      "mcp_url": f"{base}/t/demo/mcp", "api_key": "key-1"}))
"""
STANDIN = """
async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})
"""
STANDIN_WORKER = """
import signal, sys
from pathlib import Path
given = sys.argv[1:]
if "--ready" in given:
    assert given[:2] == ["--processes", "3"], given
    Path(given[given.index("--ready") + 1]).write_text("1")
else:
    assert given == ["--beat"], given
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""


class Run:
    """A stack started as `make run` starts it."""

    def __init__(self, folder: Path, data_dir: Path, *arguments: str, **env: str) -> None:
        self.data_dir = data_dir
        own = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "BASE_URL"))}
        self.process = subprocess.Popen(
            [sys.executable, "drive.py", *arguments],
            cwd=folder,
            env={**own, "PYTHONPATH": PATH, "DATA_DIR": str(data_dir), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, text: str) -> str:
        """What it prints up to the line with `text`; fails with all of it when it ends before."""
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if text in line:
                return "".join(said)
        raise AssertionError(f"it ended without {text!r}:\n{''.join(said)}")

    def rest(self) -> str:
        """Everything until it ends."""
        said, _ = self.process.communicate(timeout=60)
        return said

    def child(self, name: str) -> psutil.Process:
        return psutil.Process(json.loads((self.data_dir / "children.json").read_text())[name][0])

    def everything(self) -> list[psutil.Process]:
        """All it started: its descendants, which include the server of the database."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        return self.rest()


def all_gone(processes: list[psutil.Process]) -> bool:
    psutil.wait_procs(processes, timeout=20)
    return not [one.pid for one in processes if started_at(one.pid) is not None]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        chosen: int = free.getsockname()[1]
    return chosen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone with a stand-in for the hub, and the real example service."""
    (tmp_path / "drive.py").write_text(DRIVER)
    (tmp_path / "manage.py").write_text(MANAGE)
    (tmp_path / "standin.py").write_text(STANDIN)
    (tmp_path / "standin_worker.py").write_text(STANDIN_WORKER)
    return tmp_path


@pytest.fixture
def started(folder: Path, data_dir: Path, port: int) -> Iterator[Run]:
    run = Run(folder, data_dir, PORT=str(port))
    run.until("Cursor")
    yield run
    run.stop()


def test_a_run_starts_everything_and_says_how_to_connect(folder: Path, data_dir: Path, port: int) -> None:
    run = Run(folder, data_dir, PORT=str(port))
    try:
        said = run.until("Cursor")
    finally:
        run.stop()
    assert f"http://localhost:{port}/admin/" in said
    assert f"user admin, password in {data_dir}/admin-password" in said
    assert f"claude mcp add --transport http mcphub http://localhost:{port}/t/demo/mcp" in said
    for name in ("secret-key", "seal-keys", "children.json", "helpdesk-access.json"):
        assert (data_dir / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize(("behind", "seen"), [("no", "127.0.0.1"), ("yes", "203.0.113.9")])
def test_only_behind_a_proxy_is_anybody_believed_about_where_a_call_came_from(
    folder: Path, data_dir: Path, port: int, behind: str, seen: str
) -> None:
    run = Run(folder, data_dir, PORT=str(port), BEHIND_PROXY=behind)
    try:
        run.until("Cursor")
        answer = httpx2.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "203.0.113.9"})
    finally:
        run.stop()
    assert answer.text == seen


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_leaves_nothing_running(started: Run, signum: signal.Signals) -> None:
    family = started.everything()
    assert len(family) > 3
    started.process.send_signal(signum)
    started.rest()
    assert started.process.returncode == 0
    assert all_gone(family)
    assert find_running(started.data_dir) is None


def test_kill_9_leaves_nothing_running(started: Run) -> None:
    family = started.everything()
    started.process.kill()
    started.rest()
    assert all_gone(family)


def test_after_kill_9_the_next_run_just_works_at_once(started: Run, folder: Path, port: int) -> None:
    family = started.everything()
    started.process.kill()
    second = Run(folder, started.data_dir, PORT=str(port))
    try:
        second.until("Cursor")
        assert all_gone(family)
    finally:
        second.stop()


def test_a_run_whose_starter_is_killed_stops_and_the_next_one_waits_for_it(
    folder: Path, data_dir: Path, port: int
) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, 'drive.py', '--with-parent'])"
    (folder / "make.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": PATH, "DATA_DIR": str(data_dir), "PORT": str(port)}
    make = subprocess.Popen([sys.executable, "make.py"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    assert make.stdout is not None
    assert any("Cursor" in line for line in make.stdout)
    family = psutil.Process(make.pid).children(recursive=True)
    make.kill()
    second = Run(folder, data_dir, PORT=str(port))
    try:
        second.until("Cursor")
        assert all_gone(family)
    finally:
        second.stop()
        make.communicate()


def test_a_killed_web_server_is_started_again_with_its_workers(folder: Path, data_dir: Path, port: int) -> None:
    run = Run(folder, data_dir, PORT=str(port), WEB_WORKERS="2")
    try:
        run.until("Cursor")
        before = run.child("web server")
        workers = before.children(recursive=True)
        assert len(workers) >= 2
        before.kill()
        said = run.until("web server is running again.")
        assert "web server was killed by SIGKILL; starting it again in 0.5 s." in said
        assert run.child("web server").pid != before.pid
        assert all_gone(workers)
    finally:
        run.stop()


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_killed_worker_and_a_killed_beat_are_started_again(started: Run, name: str) -> None:
    before = started.child(name)
    before.kill()
    said = started.until(f"{name} is running again.")
    assert f"{name} was killed by SIGKILL; starting it again in 0.5 s." in said
    assert started.child(name).pid != before.pid


def test_a_worker_that_ends_while_starting_is_one_sentence(folder: Path, data_dir: Path, port: int) -> None:
    (folder / "standin_worker.py").write_text("raise SystemExit(3)")
    run = Run(folder, data_dir, PORT=str(port))
    said = run.rest()
    assert "mcphub: The worker ended with exit code 3 while starting" in said
    assert run.process.returncode == 1
    assert find_running(data_dir) is None


def test_a_killed_database_is_started_again_at_the_same_address(started: Run) -> None:
    running = find_running(started.data_dir)
    assert running is not None
    pid, url = running.pid(), running.app_url
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    said = started.until("Postgres is running again.")
    assert "Postgres ended" in said
    assert running.app_url == url
    assert running.pid() not in {pid, None}


def test_a_second_run_keeps_the_data_and_the_helpdesk_address(started: Run, folder: Path, port: int) -> None:
    access = (started.data_dir / "helpdesk-access.json").read_text()
    secret = (started.data_dir / "secret-key").read_text()
    started.stop()
    second = Run(folder, started.data_dir, PORT=str(port))
    second.until("Cursor")
    second.stop()
    assert (started.data_dir / "helpdesk-access.json").read_text() == access
    assert (started.data_dir / "secret-key").read_text() == secret
    postgres = Postgres(started.data_dir)
    postgres.start(tied=True)
    with psycopg.connect(postgres.owner_url) as connection:
        assert connection.execute("SELECT sum(n) FROM runs").fetchone() == (2,)
    postgres.stop()


def test_no_process_that_serves_holds_the_owners_way_past_the_policies(started: Run) -> None:
    names = ("web server", "worker", "beat", "example service")
    *serving, helpdesk = (started.child(name).environ() for name in names)
    for environment in serving:
        assert "DATABASE_URL" in environment
        assert environment.get("DATABASE_OWNER_URL", "") == ""
        assert not any("mcphub_owner" in value for value in environment.values())
    assert "DATABASE_URL" not in helpdesk
    assert not any("mcphub_owner" in value for value in helpdesk.values())


def test_a_second_run_beside_the_first_is_refused(started: Run, folder: Path, port: int) -> None:
    second = Run(folder, started.data_dir, PORT=str(port + 1))
    assert "The hub already runs from" in second.rest()
    assert second.process.returncode == 1
    assert not port_is_free(port)


def test_a_port_in_use_is_one_sentence_that_names_the_setting(folder: Path, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = Run(folder, data_dir, PORT=str(port))
        said = run.rest()
    assert said.startswith(f"mcphub: Port {port} is in use by another program: set PORT to another")
    assert run.process.returncode == 1


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "70000"), ("WEB_WORKERS", "0")])
def test_a_setting_that_makes_no_sense_is_named(folder: Path, data_dir: Path, name: str, value: str) -> None:
    run = Run(folder, data_dir, **{name: value})
    assert f"mcphub: {name} is '{value}'; it takes a whole number" in run.rest()
    assert run.process.returncode == 1


def test_a_failed_migration_shows_its_last_lines_and_stops_everything(folder: Path, data_dir: Path, port: int) -> None:
    (folder / "manage.py").write_text("import sys; sys.exit('relation missing')")
    run = Run(folder, data_dir, PORT=str(port))
    said = run.rest()
    assert "`manage.py migrate` failed; its last lines:\n  relation missing" in said
    assert "Traceback" not in said
    assert run.process.returncode == 1
    assert find_running(data_dir) is None


def test_a_postgres_that_will_not_start_is_one_sentence(folder: Path, data_dir: Path, port: int) -> None:
    run = Run(folder, data_dir, PORT=str(port), POSTGRES_BIN=str(folder))
    said = run.rest()
    assert f"mcphub: POSTGRES_BIN is {folder}, but there is no postgres and initdb in that folder." in said
    assert "Traceback" not in said
    assert run.process.returncode == 1


def test_a_web_server_that_ends_while_starting_is_one_sentence(folder: Path, data_dir: Path, port: int) -> None:
    (folder / "standin.py").write_text("raise SystemExit('no settings')")
    run = Run(folder, data_dir, PORT=str(port))
    said = run.rest()
    assert "mcphub: The web server ended with exit code 1 while starting" in said
    assert run.process.returncode == 1
    assert find_running(data_dir) is None


def test_with_a_database_url_nothing_is_embedded(folder: Path, data_dir: Path, port: int, shared: Postgres) -> None:
    env = {"DATABASE_URL": shared.app_url, "DATABASE_OWNER_URL": shared.owner_url}
    run = Run(folder, data_dir, PORT=str(port), **env)
    try:
        said = run.until("Cursor")
    finally:
        run.stop()
    assert "Using the database of DATABASE_URL." in said
    assert not (data_dir / "postgres").exists()


def test_leftovers_are_known_by_pid_and_start_time(tmp_path: Path) -> None:
    waiting = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    left, stranger = (
        subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(2)
    )
    roster = Roster(tmp_path / "children.json")
    roster.add("worker", left.pid)
    record = json.loads((tmp_path / "children.json").read_text())
    # A pid that was given to another program after the child of that number had ended.
    record["beat"] = [stranger.pid, record["worker"][1] - 3600]
    (tmp_path / "children.json").write_text(json.dumps(record))
    assert Roster(tmp_path / "children.json").clear_leftovers() == ["worker"]
    assert started_at(left.pid) is None
    assert stranger.poll() is None
    stranger.communicate()
    left.communicate()
