"""The help desk as a program: a real process on a loopback port, with a data file of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class HelpDesk:
    """A running help desk."""

    def __init__(self, data: Path, *options: str, token: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.token = token
        command = ["-m", "examples.helpdesk", "--port", str(self.port), "--data", str(data), *options]
        env = {**os.environ, "HELPDESK_TOKEN": token}
        self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stderr=subprocess.PIPE)

    def ask(self, path: str, body: Any = None, *, method: str = "GET", token: str | None = None) -> Answer:
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=raw, method=method)
        given = self.token if token is None else token
        if given:
            request.add_header("Authorization", f"Bearer {given}")
        try:
            with DIRECT.open(request, timeout=10) as response:
                return Answer(response.status, json.loads(response.read()), dict(response.headers))
        except urllib.error.HTTPError as problem:
            with problem:
                return Answer(problem.code, json.loads(problem.read()), dict(problem.headers))

    def post(self, path: str, body: Any = None) -> Answer:
        return self.ask(path, body, method="POST")

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ask("/health")
            except OSError:
                continue
            return
        raise AssertionError(f"the help desk did not start: {self.stop()}")

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=20)
        return said.decode()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HelpDesk]:
    """One for the tests that leave the tickets they use alone or use their own."""
    desk = HelpDesk(tmp_path_factory.mktemp("helpdesk") / "data.json", "--report-seconds", "0.2")
    desk.wait_until_up()
    yield desk
    desk.stop()


def test_a_fresh_desk_has_tickets_to_work_with(desk: HelpDesk) -> None:
    answer = desk.ask("/tickets?limit=100")
    assert answer.status == 200
    assert answer.body["total"] == len(answer.body["tickets"]) == 25
    assert {ticket["status"] for ticket in answer.body["tickets"]} == {"open", "pending", "closed"}
    keys = {"id", "subject", "body", "status", "priority", "requester", "created_at", "updated_at", "tags"}
    assert all(ticket.keys() == keys for ticket in answer.body["tickets"])


def test_search_finds_tickets_with_every_word_and_prefers_the_subject(desk: HelpDesk) -> None:
    found = desk.ask("/tickets?query=FIRMWARE+beam").body["tickets"]
    assert [ticket["id"] for ticket in found] == [4, 13]
    assert desk.ask("/tickets?query=no-such-word").body == {"tickets": [], "total": 0, "limit": 20, "offset": 0}


def test_search_pages_through_one_status_without_gaps(desk: HelpDesk) -> None:
    whole = desk.ask("/tickets?status=pending&limit=100").body
    pages = [
        desk.ask(f"/tickets?status=pending&limit=2&offset={offset}").body for offset in range(0, whole["total"], 2)
    ]
    assert [ticket for page in pages for ticket in page["tickets"]] == whole["tickets"]
    assert {ticket["status"] for ticket in whole["tickets"]} == {"pending"}


def test_an_internal_comment_is_kept_with_its_ticket(desk: HelpDesk) -> None:
    before = desk.ask("/tickets/2").body["updated_at"]
    written = desk.post("/tickets/2/comments", {"body": " VAT id checked. ", "internal": True})
    assert written.status == 201
    assert written.body["body"] == "VAT id checked."
    assert written.body["internal"] is True
    assert desk.ask("/tickets/2/comments").body["comments"] == [written.body]
    assert desk.ask("/tickets/2").body["updated_at"] > before


def test_a_ticket_is_closed_once(desk: HelpDesk) -> None:
    closed = desk.post("/tickets/3/close")
    assert (closed.status, closed.body["status"]) == (200, "closed")
    again = desk.post("/tickets/3/close")
    assert (again.status, again.body) == (409, {"error": "conflict", "message": "Ticket 3 is closed already."})


def test_a_report_is_accepted_at_once_and_done_later(desk: HelpDesk) -> None:
    begun = desk.post("/reports", {"group_by": "priority"})
    assert (begun.status, begun.body["status"], begun.body["result"]) == (202, "running", None)
    location, seen = begun.headers["Location"], [begun.body["progress"]]
    deadline = time.monotonic() + 10
    while (report := desk.ask(location).body)["status"] == "running" and time.monotonic() < deadline:
        seen.append(report["progress"])
    assert report["status"] == "done"
    assert report["progress"] == 1.0
    assert sum(report["result"].values()) == 25
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/tickets?limit=0", None, 400, "limit is '0'; it takes a whole number from 1 to 100"),
        ("GET", "/tickets?offset=-1", None, 400, "offset is '-1'"),
        ("GET", "/tickets?limit=%C2%B2", None, 400, "limit is '²'"),
        ("GET", "/tickets?status=lost", None, 422, "status is 'lost'; it takes one of open, pending, closed"),
        ("GET", "/tickets/999", None, 404, "There is no ticket 999"),
        ("GET", "/tickets/seven", None, 404, "ticket ids are whole numbers"),
        ("GET", "/tickets/999/comments", None, 404, "There is no ticket 999"),
        ("POST", "/tickets/999/close", None, 404, "There is no ticket 999"),
        ("POST", "/tickets/1/comments", b"{", 400, "not JSON"),
        ("POST", "/tickets/1/comments", b"\xff\xfe\xfd", 400, "not JSON"),
        ("POST", "/tickets/1/comments", b"[" * 50_000, 400, "not JSON"),
        ("POST", "/tickets/1/comments", [], 400, "not a JSON object"),
        ("POST", "/tickets/1/comments", {"body": "  "}, 422, "body is required"),
        ("POST", "/tickets/1/comments", {"body": "x" * 5001}, 422, "1 to 5000 characters"),
        ("POST", "/tickets/1/comments", {"body": "x", "internal": "yes"}, 422, "internal takes true"),
        ("POST", "/tickets/1/comments", {"body": "x" * 70_000}, 413, ""),
        ("POST", "/reports", {"group_by": "mood"}, 422, "group_by takes one of"),
        ("POST", "/reports", {"group_by": ["status"]}, 422, "group_by takes one of"),
        ("GET", "/reports/none", None, 404, "There is no such report"),
        ("DELETE", "/tickets/1", None, 405, ""),
        ("GET", "/nowhere", None, 404, ""),
    ],
)
def test_what_cannot_be_done_is_said_in_json(
    desk: HelpDesk, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = desk.ask(path, body, method=method)
    assert answer.status == status
    assert answer.body.keys() == {"error", "message"}
    assert said in answer.body["message"]


def test_a_desk_with_a_token_lets_nobody_else_in(tmp_path: Path) -> None:
    desk = HelpDesk(tmp_path / "data.json", token="sesame")
    desk.wait_until_up()
    try:
        assert desk.ask("/tickets").status == 200
        assert desk.ask("/health", token="").status == 200
        for token in ("", "wrong", "sesamé"):
            refused = desk.ask("/tickets", token=token)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    finally:
        desk.stop()


def test_a_change_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    desk = HelpDesk(data)
    desk.wait_until_up()
    assert desk.post("/tickets/1/close").status == 200
    desk.process.kill()
    desk.process.communicate()
    again = HelpDesk(data)
    again.wait_until_up()
    try:
        assert again.ask("/tickets/1").body["status"] == "closed"
        assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
    finally:
        again.stop()


def test_a_damaged_data_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{")
    desk = HelpDesk(tmp_path / "data.json")
    _, said = desk.process.communicate(timeout=20)
    assert desk.process.returncode == 1
    assert b"data.json cannot be read" in said
    assert b"Traceback" not in said
