"""The line that connects each host to an endpoint: printed by the stack's card, shown on the connect page."""

import json
import shlex

NO_KEY = "YOUR_API_KEY"
"""What stands for a key that is not known here."""


def connect_lines(url: str, key: str | None = None, name: str = "mcphub") -> dict[str, str]:
    """Host to line: a command for the shell, or for Cursor the content of ~/.cursor/mcp.json.

    url: the endpoint. key: an API key; without one the host finds out by itself how its user signs in. name: what the
    host shall call the server.
    """
    return _with_key(url, key, name) if key else _signing_in(url, name)


def _signing_in(url: str, name: str) -> dict[str, str]:
    return {
        "Claude Code": f"claude mcp add --transport http {name} {url}",
        "Codex": f"codex mcp add {name} --url {url}; codex mcp login {name}",
        "Gemini CLI": f"gemini mcp add --transport http {name} {url}",
        **_files(name, {"url": url}),
    }


def _with_key(url: str, key: str, name: str) -> dict[str, str]:
    header = shlex.quote(f"Authorization: Bearer {key}")
    return {
        # --header takes several values, so it comes after the two names.
        "Claude Code": f"claude mcp add --transport http {name} {url} --header {header}",
        # Codex reads the key from its environment each time it starts, and writes only the variable's name down.
        "Codex": f"export MCPHUB_KEY={key}; codex mcp add {name} --url {url} --bearer-token-env-var MCPHUB_KEY",
        "Gemini CLI": f"gemini mcp add --transport http --header {header} {name} {url}",
        **_files(name, {"url": url, "headers": {"Authorization": f"Bearer {key}"}}),
    }


def _files(name: str, server: dict[str, object]) -> dict[str, str]:
    """The hosts that take JSON."""
    code = {"name": name, "type": "http", **server}
    return {
        "Cursor": f"~/.cursor/mcp.json: {json.dumps({'mcpServers': {name: server}})}",
        "VS Code": f"code --add-mcp {shlex.quote(json.dumps(code))}",
    }
