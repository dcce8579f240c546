"""The documents, held against the tree: what they name exists."""

import ast
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.models import Entry, Event, Outcome

pytestmark = pytest.mark.check

ROOT = Path(__file__).resolve().parents[2]
_ELSEWHERE = {".venv", ".data", ".git", "node_modules", ".pytest_cache", "staticfiles"}
_PACKAGES = "mcphub|gateway|tools|policy|access|tenants|audit|lib|examples|benchmarks|tests"
_NOT_OURS = {"tools/call", "tools/list", "notifications/cancelled", "mcphub.tenants", "access.refused"}
"""Methods of MCP, a setting of Postgres, and an event of the ledger."""
_RECORDS = sorted(f"docs/decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("0*.md"))
_NAMED = ["docs/layout.md", "docs/one-call.md", *_RECORDS]

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_DOTTED = re.compile(rf"(?:{_PACKAGES})(?:\.\w+)+")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _markdown() -> list[Path]:
    """Ours: not what a package manager or a cache brought along."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - _ELSEWHERE)
        found += [Path(folder) / name for name in sorted(files) if name.endswith(".md")]
    return found


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _spans(name: str) -> list[str]:
    return _CODE.findall(_FENCED.sub("", _text(name)))


def _is_path(span: str) -> bool:
    """A file or folder of the tree. What starts with a slash is a URL's, and `actions.py` alone stands for many."""
    return bool(_PATH.fullmatch(span)) and "/" in span and span not in _NOT_OURS


def _resolves(dotted: str) -> bool:
    """Whether `package.module.name.attribute` leads somewhere; a field of a dataclass counts as an attribute."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for name in parts[size:]:
            if not hasattr(found, name):
                return name in getattr(found, "__dataclass_fields__", {})
            found = getattr(found, name)
        return True
    return False


def _anchors(path: Path) -> set[str]:
    """Headings as GitHub links to them."""
    headings = _HEADING.findall(_FENCED.sub("", path.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", _NAMED)
def test_every_path_in_backticks_exists(name: str) -> None:
    assert not [span for span in _spans(name) if _is_path(span) and not (ROOT / span).exists()]


@pytest.mark.parametrize("name", _NAMED)
def test_every_function_in_backticks_exists(name: str) -> None:
    named = [span for span in _spans(name) if _DOTTED.fullmatch(span) and span not in _NOT_OURS]
    assert not [dotted for dotted in named if not _resolves(dotted)]


def test_the_checks_above_have_something_to_look_at() -> None:
    assert sum(_is_path(span) for span in _spans("docs/layout.md")) > 50
    assert sum(bool(_DOTTED.fullmatch(span)) for span in _spans("docs/one-call.md")) > 40


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert _resolves("gateway.tool_calls.Reporter.progress")
    assert not _resolves("gateway.tool_calls.Reporter.no_such")
    assert not _resolves("gateway.no_such.door")


@pytest.mark.parametrize("path", _markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    dead = []
    for link in _LINK.findall(_FENCED.sub("", path.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (path.parent / target).resolve() if target else path
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            dead.append(link)
    assert not dead


def test_every_test_behind_a_promise_exists() -> None:
    named = _TEST.findall(_text("README.md"))
    assert len(named) > 10
    assert not [f"{file}::{name}" for file, name in named if name not in _functions(ROOT / file)]


def _functions(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_decision_is_listed_once_and_numbered_without_gaps() -> None:
    files = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert [name[:4] for name in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    assert re.findall(r"\]\((0[^)]+)\)", _text("docs/decisions/README.md")) == files


def test_the_ledgers_page_has_every_column_event_and_outcome() -> None:
    spans = set(_spans("docs/reference/ledger.md"))
    columns = {field.name for field in Entry._meta.get_fields()}
    assert not (columns | set(Event.values) | set(Outcome.values)) - spans


def test_the_errors_page_has_every_reason_in_the_code() -> None:
    sources = [path for package in ("tools", "policy", "audit", "gateway") for path in (ROOT / package).rglob("*.py")]
    used = {reason for path in sources for reason in _reasons(path)}
    assert {"rate_limited", "timeout", "misconfigured", "unreadable_result"} <= used
    assert not used - set(_spans("docs/reference/errors.md"))


def _reasons(path: Path) -> Iterator[str]:
    """Texts given as `reason=`, as the class attribute of a ToolError, or second to `Result.of_error`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.keyword(arg="reason", value=ast.Constant(value=str(reason))):
                yield reason
            case ast.Assign(targets=[ast.Name(id="reason")], value=ast.Constant(value=str(reason))):
                yield reason
            case ast.Call(func=ast.Attribute(attr="of_error"), args=[_, ast.Constant(value=str(reason))]):
                yield reason


def test_every_command_has_its_heading() -> None:
    commands = {path.stem for path in (ROOT / "mcphub/management/commands").glob("[a-z]*.py")}
    assert not commands - _anchors(ROOT / "docs/reference/commands.md")
