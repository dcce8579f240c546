"""The lines that connect hosts, as templates show them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django import template

from lib import hosts
from lib.html import pretty

register = template.Library()


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What to paste for one host; `file` is where it goes, empty for a command in the shell."""

    host: str
    text: str
    file: str = ""


register.simple_tag(hosts.connect_lines, name="connect_lines")


@register.inclusion_tag("hosts.html")
def host_blocks(lines: Mapping[str, str], prefix: str = "") -> dict[str, object]:
    """A block with a copy button for each host. lines: what `connect_lines` answers. prefix: sets the ids of one list
    apart from those of another on the same page."""
    return {"hosts": [shown(host, line) for host, line in lines.items()], "prefix": prefix}


def shown(host: str, line: str) -> Shown:
    """A line of lib.hosts taken apart: for a host with a file, `<path>: <content>`."""
    path, colon, content = line.partition(": ")
    if colon and path.startswith("~/"):
        return Shown(host=host, file=path, text=pretty(json.loads(content)))
    return Shown(host=host, text=line)
