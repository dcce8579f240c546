"""The short card at the end of a start: where the hub is, and one line for each host to connect it."""

import json
import shlex
from pathlib import Path
from typing import Any

_NO_KEY = "YOUR_API_KEY"


def card(demo: dict[str, Any], data_dir: Path) -> str:
    """The text to print.

    demo: what `manage.py demo` says: admin_url, username, password (None once it is only in the data folder), mcp_url,
    api_key (None when it cannot be shown again).
    """
    url, key = str(demo["mcp_url"]), demo.get("api_key")
    password = demo.get("password") or f"in {data_dir / 'admin-password'}"
    # Shown so that a reader knows how to get one; `apikey` is the management command that makes keys.
    shown_key = key or "`python manage.py apikey demo --user admin` makes one"
    lines = [
        "",
        "  mcphub is running. Ctrl-C stops it.",
        "",
        f"  Admin     {demo['admin_url']}",
        f"            user {demo['username']}, password {password}",
        f"  MCP URL   {url}",
        f"  API key   {shown_key}",
        "",
        "  Connect a host:",
    ]
    lines += [f"  {name:<13}{line}" for name, line in connect_lines(url, str(key or _NO_KEY)).items()]
    return "\n".join([*lines, ""])


def connect_lines(url: str, key: str, name: str = "mcphub") -> dict[str, str]:
    """One line for each host: a command for the shell, or for Cursor the content of ~/.cursor/mcp.json."""
    header = shlex.quote(f"Authorization: Bearer {key}")
    cursor = {"mcpServers": {name: {"url": url, "headers": {"Authorization": f"Bearer {key}"}}}}
    return {
        # --header takes several values, so it comes after the two names.
        "Claude Code": f"claude mcp add --transport http {name} {url} --header {header}",
        # Codex reads the key from its environment each time it starts, and writes only the variable's name down.
        "Codex": f"export MCPHUB_KEY={key}; codex mcp add {name} --url {url} --bearer-token-env-var MCPHUB_KEY",
        "Gemini CLI": f"gemini mcp add --transport http --header {header} {name} {url}",
        "Cursor": f"~/.cursor/mcp.json: {json.dumps(cursor)}",
    }
