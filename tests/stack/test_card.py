"""The lines that connect a host are complete commands: a shell splits them as meant."""

import json
import shlex
from pathlib import Path

from lib.hosts import connect_lines
from mcphub.stack.card import card

URL = "http://localhost:8000/t/demo/mcp"


def test_each_line_carries_address_and_key() -> None:
    lines = connect_lines(URL, "key-1")
    assert list(lines) == ["Claude Code", "Codex", "Gemini CLI", "Cursor", "VS Code"]
    header = "Authorization: Bearer key-1"
    claude, gemini = shlex.split(lines["Claude Code"]), shlex.split(lines["Gemini CLI"])
    assert claude == ["claude", "mcp", "add", "--transport", "http", "mcphub", URL, "--header", header]
    assert gemini == ["gemini", "mcp", "add", "--transport", "http", "--header", header, "mcphub", URL]
    assert lines["Codex"].endswith(f"codex mcp add mcphub --url {URL} --bearer-token-env-var MCPHUB_KEY")
    config = json.loads(lines["Cursor"].split(": ", 1)[1])
    assert config == {"mcpServers": {"mcphub": {"url": URL, "headers": {"Authorization": "Bearer key-1"}}}}
    *code, added = shlex.split(lines["VS Code"])
    assert code == ["code", "--add-mcp"]
    headers = {"Authorization": "Bearer key-1"}
    assert json.loads(added) == {"name": "mcphub", "type": "http", "url": URL, "headers": headers}


def test_without_a_key_a_line_carries_the_address_alone() -> None:
    lines = connect_lines(URL, name="acme")
    assert list(lines) == list(connect_lines(URL, "key-1"))
    assert shlex.split(lines["Claude Code"]) == ["claude", "mcp", "add", "--transport", "http", "acme", URL]
    assert shlex.split(lines["Gemini CLI"]) == ["gemini", "mcp", "add", "--transport", "http", "acme", URL]
    assert lines["Codex"] == f"codex mcp add acme --url {URL}; codex mcp login acme"
    assert json.loads(lines["Cursor"].split(": ", 1)[1]) == {"mcpServers": {"acme": {"url": URL}}}
    assert json.loads(shlex.split(lines["VS Code"])[-1]) == {"name": "acme", "type": "http", "url": URL}
    assert not any("Authorization" in line or "KEY" in line for line in lines.values())


def test_a_key_that_cannot_be_shown_again_is_replaced_by_how_to_get_one() -> None:
    demo = {"admin_url": "http://x/admin/", "username": "admin", "password": "pw", "mcp_url": URL, "api_key": None}
    text = card(demo, Path("/data"), workers=2)
    assert "user admin, password pw" in text
    assert "python manage.py apikey demo --user admin" in text
    assert "None" not in text
    assert "Jobs      2 workers run the long tools" in text
