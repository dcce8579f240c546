"""What detectors know, as it is written in the YAML files beside this one."""

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(name: str) -> Any:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one


def rules(*names: str) -> list[dict[str, Any]]:
    """The rules of these files, one after the other, with their hits and misses."""
    return [one for name in names for one in read(name)]
