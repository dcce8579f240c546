"""The line that connects each host to an endpoint: printed by the stack's card, shown on the connect page."""

import json
import shlex

NO_KEY = "YOUR_API_KEY"
"""What stands for a key that is not known here."""


def connect_lines(url: str, key: str = NO_KEY, name: str = "mcphub") -> dict[str, str]:
    """Host to line: a command for the shell, or for Cursor the content of ~/.cursor/mcp.json.

    url: the endpoint. key: an API key. name: what the host shall call the server.
    """
    header = shlex.quote(f"Authorization: Bearer {key}")
    headers = {"Authorization": f"Bearer {key}"}
    cursor = {"mcpServers": {name: {"url": url, "headers": headers}}}
    code = {"name": name, "type": "http", "url": url, "headers": headers}
    return {
        # --header takes several values, so it comes after the two names.
        "Claude Code": f"claude mcp add --transport http {name} {url} --header {header}",
        # Codex reads the key from its environment each time it starts, and writes only the variable's name down.
        "Codex": f"export MCPHUB_KEY={key}; codex mcp add {name} --url {url} --bearer-token-env-var MCPHUB_KEY",
        "Gemini CLI": f"gemini mcp add --transport http --header {header} {name} {url}",
        "Cursor": f"~/.cursor/mcp.json: {json.dumps(cursor)}",
        "VS Code": f"code --add-mcp {shlex.quote(json.dumps(code))}",
    }
