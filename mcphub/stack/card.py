"""The short card at the end of a start: where the hub is, and one line for each host to connect it."""

from pathlib import Path
from typing import Any

from lib.hosts import NO_KEY, connect_lines


def card(demo: dict[str, Any], data_dir: Path, *, workers: int) -> str:
    """The text to print.

    demo: what `manage.py demo` says: admin_url, username, password (None once it is only in the data folder), mcp_url,
    api_key (None when it cannot be shown again). workers: how many jobs run at a time.
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
        f"  Jobs      {workers} worker{'s' if workers != 1 else ''} run the long tools",
        "",
        "  Connect a host:",
    ]
    lines += [f"  {name:<13}{line}" for name, line in connect_lines(url, str(key or NO_KEY)).items()]
    return "\n".join([*lines, ""])
