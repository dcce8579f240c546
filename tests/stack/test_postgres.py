"""The embedded Postgres: it keeps its data, comes back after any kind of kill, and gives the roles their rights."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from mcphub.stack import binaries, cluster
from mcphub.stack.errors import StackError
from mcphub.stack.postgres import Postgres, ensure_started, find_running, urls
from mcphub.stack.processes import started_at

ROOT = Path(__file__).resolve().parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has Postgres run as another account")


def one(url: str, query: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        row: tuple[object, ...] | None = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs `code`, as a management command would."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


HOLDER = """
import sys
from pathlib import Path
from mcphub.stack.postgres import ensure_started
print(ensure_started(Path(sys.argv[1]), durable=False).pid(), flush=True)
sys.stdin.read()
"""
FINDER = """
import sys
from pathlib import Path
from mcphub.stack.postgres import urls
print(*urls(Path(sys.argv[1])))
"""
TIED = """
import sys
from pathlib import Path
from mcphub.stack.postgres import Postgres
postgres = Postgres(Path(sys.argv[1]), durable=False)
postgres.start(tied=True)
print(postgres.pid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[Postgres]:
    postgres = Postgres(data_dir, durable=False)
    yield postgres
    postgres.stop()


def test_the_application_role_can_neither_step_around_row_security_nor_own_anything(shared: Postgres) -> None:
    rights = "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles"
    for url in (shared.app_url, shared.owner_url):
        assert one(url, f"{rights} WHERE rolname = current_user") == (False, False, False, False, False)
    owner = "SELECT pg_get_userbyid(datdba), current_user FROM pg_database WHERE datname = current_database()"
    assert one(shared.app_url, owner) == ("mcphub_owner", "mcphub_app")


def test_only_the_owner_creates_tables(shared: Postgres) -> None:
    with psycopg.connect(shared.owner_url) as connection:
        connection.execute("CREATE TABLE of_owner (id int)")
        connection.rollback()
    with psycopg.connect(shared.app_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE of_app (id int)")


def test_a_wrong_password_and_a_strange_database_are_refused(shared: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shared.app_url.replace(shared.state.passwords["mcphub_app"], "guess"))
    other = Postgres(shared.data_dir)
    other.create_database("second")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        one(other.url("mcphub_app", "postgres"), "SELECT 1")
    assert one(other.url("mcphub_app", "second"), "SELECT current_database()") == ("second",)


def test_text_is_utf_8_and_sorted_by_code_point(shared: Postgres) -> None:
    query = "SELECT pg_encoding_to_char(encoding), 'B' < 'a', upper('ä') FROM pg_database WHERE datname = 'mcphub'"
    assert one(shared.app_url, query) == ("UTF8", True, "Ä")


def test_passwords_are_readable_by_their_owner_only(shared: Postgres) -> None:
    mode = (shared.data_dir / cluster.STATE).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert not list(shared.data_dir.glob("*password*"))


def test_another_process_finds_the_running_database(shared: Postgres) -> None:
    said, _ = python(FINDER, str(shared.data_dir)).communicate()
    assert said.split() == [shared.app_url, shared.owner_url]


def test_nothing_is_found_before_the_first_start_and_after_a_stop(postgres: Postgres) -> None:
    assert urls(postgres.data_dir) is None
    postgres.start()
    assert find_running(postgres.data_dir) is not None
    postgres.stop()
    assert urls(postgres.data_dir) is None
    assert not postgres.running()


def test_a_second_start_keeps_data_passwords_and_port(postgres: Postgres) -> None:
    postgres.start()
    before = postgres.owner_url
    with psycopg.connect(before) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    postgres.start()
    assert postgres.owner_url == before
    assert one(before, "SELECT answer FROM kept") == (42,)


def test_commits_survive_kill_9_of_the_server(data_dir: Path) -> None:
    postgres = Postgres(data_dir)
    postgres.start(tied=True)
    assert one(postgres.app_url, "SELECT current_setting('fsync'), current_setting('full_page_writes')") == ("on", "on")
    with psycopg.connect(postgres.owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid = postgres.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    psutil.Process(pid).wait(10)
    assert urls(data_dir) is None
    postgres.start(tied=True)
    assert one(postgres.owner_url, "SELECT answer FROM kept") == (42,)
    postgres.stop()


def test_a_pid_file_that_now_names_another_program_does_not_hinder_a_start(postgres: Postgres) -> None:
    postgres.start()
    postgres.stop()
    stale = postgres.cluster / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{postgres.cluster}\n1\n{postgres.state.port}\n\n127.0.0.1\n\nready\n")
    assert not postgres.running()
    postgres.start()
    assert postgres.running()


def test_a_server_is_still_found_when_its_folder_is_moved(postgres: Postgres) -> None:
    postgres.start()
    moved = postgres.data_dir.rename(postgres.data_dir.with_name("moved"))
    there = Postgres(moved)
    assert there.pid() == postgres._child_pid()
    there.start()
    assert there.pid() == postgres._child_pid(), "a second server on the same files would damage them"
    there.stop()
    moved.rename(postgres.data_dir)


def test_a_port_taken_meanwhile_is_replaced_and_remembered(postgres: Postgres) -> None:
    postgres.start()
    postgres.stop()
    before = postgres.state
    with socket.create_server(("127.0.0.1", before.port)):
        postgres.start()
        assert postgres.state.port != before.port
        assert one(postgres.app_url, "SELECT 1") == (1,)
    assert postgres.state.passwords == before.passwords


def test_the_server_of_a_killed_run_shuts_down_with_it(data_dir: Path) -> None:
    run = python(TIED, str(data_dir))
    server = psutil.Process(int(line_of(run)))
    run.kill()
    run.communicate()
    server.wait(20)
    assert urls(data_dir) is None
    assert Postgres(data_dir).log.read_text().rstrip().endswith("database system is shut down")


def test_a_run_replaces_an_orphan_but_shares_a_server_in_use(postgres: Postgres) -> None:
    command = python(HOLDER, str(postgres.data_dir))
    pid = int(line_of(command))
    postgres.start(tied=True)
    assert postgres.pid() == pid
    command.kill()
    command.communicate()
    assert postgres.pid() == pid, "a killed command cannot stop what it started"
    postgres.start(tied=True)
    assert postgres.pid() not in {pid, None}


def test_the_last_command_out_stops_the_server(data_dir: Path) -> None:
    first = python(HOLDER, str(data_dir))
    pid = int(line_of(first))
    second = python(HOLDER, str(data_dir))
    assert int(line_of(second)) == pid
    first.communicate()
    assert find_running(data_dir) is not None, "the second command still uses it"
    second.communicate()
    assert started_at(pid) is None


def test_a_command_leaves_the_server_of_a_run_alone(data_dir: Path) -> None:
    postgres = Postgres(data_dir, durable=False)
    let_go = postgres.use(tied=True)
    command = python(HOLDER, str(data_dir))
    assert int(line_of(command)) == postgres.pid()
    command.communicate()
    assert postgres.running()
    let_go()
    assert not postgres.running()


def test_two_first_starts_at_once_make_one_cluster(data_dir: Path) -> None:
    commands = [python(HOLDER, str(data_dir)) for _ in range(3)]
    assert len({line_of(command) for command in commands}) == 1
    for command in commands:
        command.communicate()
    assert urls(data_dir) is None


def test_a_first_start_that_was_cut_off_is_made_good(postgres: Postgres) -> None:
    (postgres.data_dir / "postgres.new").mkdir(parents=True)
    (postgres.data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    (postgres.data_dir / "postgres.new").chmod(0o711)
    postgres.data_dir.chmod(0o711)
    postgres.start()
    assert postgres.running()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "PG_VERSION").unlink(), "is not a Postgres data folder"),
        (lambda folder: (folder / "PG_VERSION").write_text("9\n"), "was made by Postgres 9"),
        (lambda folder: (folder / "global" / "pg_control").unlink(), "Postgres did not start: .*pg_control"),
        (lambda folder: (folder.parent / cluster.STATE).write_text("{"), "is damaged"),
        (lambda folder: (folder.parent / cluster.STATE).unlink(), "with its passwords does not"),
    ],
)
def test_a_broken_data_folder_is_one_clear_sentence(postgres: Postgres, damage: object, sentence: str) -> None:
    postgres.start()
    state, folder = (postgres.data_dir / cluster.STATE).read_text(), postgres.cluster
    postgres.stop()
    assert callable(damage)
    damage(folder)
    with pytest.raises(StackError, match=sentence) as refusal:
        postgres.start()
    assert "\n" not in str(refusal.value)
    (postgres.data_dir / cluster.STATE).write_text(state)


def test_a_full_disk_is_one_clear_sentence(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_FREE_BYTES", 2**70)
    with pytest.raises(StackError, match=r"The disk of .* is full: \d+ MB are free"):
        postgres.start()


def test_a_data_folder_that_cannot_be_made_is_one_clear_sentence(data_dir: Path) -> None:
    data_dir.write_text("a file")
    try:
        with pytest.raises(StackError, match="cannot be used"):
            Postgres(data_dir).start()
    finally:
        data_dir.unlink()


def test_missing_programs_are_one_clear_sentence(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path))
    with pytest.raises(StackError, match=r"POSTGRES_BIN is .* no postgres and initdb"):
        postgres.start()


def test_ensure_started_serves_this_process(data_dir: Path) -> None:
    postgres = ensure_started(data_dir, durable=False)
    assert one(postgres.app_url, "SELECT 1") == (1,)


@needs_root
def test_root_gets_a_cluster_elsewhere_when_its_account_cannot_enter_the_clone(data_dir: Path) -> None:
    data_dir.parent.chmod(0o700)
    postgres = Postgres(data_dir, durable=False)
    postgres.start(tied=True)
    assert postgres.cluster.is_relative_to(binaries.SHARED)
    assert one(postgres.app_url, "SELECT 1") == (1,)
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700, "the folder was not opened to others"
    assert json.loads((data_dir / cluster.STATE).read_text())["cluster"] == str(postgres.cluster)
    place = postgres.cluster
    assert place.owner() == "mcphub-postgres"
    postgres.remove()
    assert not place.parent.exists()


@needs_root
def test_root_is_told_how_to_let_postgres_in_again(data_dir: Path) -> None:
    postgres = Postgres(data_dir, durable=False)
    postgres.start()
    postgres.stop()
    data_dir.parent.chmod(0o700)
    with pytest.raises(StackError, match=f"run `chmod o\\+x {data_dir.parent}`"):
        postgres.start()
    data_dir.parent.chmod(0o711)
