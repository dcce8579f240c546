"""The house itself: floors, migrations, templates, and what no file may hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.template.loader import get_template

pytestmark = pytest.mark.check

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*") if path.suffix in {".html", ".txt", ".xml"})


def test_each_floor_imports_only_downward() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_no_model_is_ahead_of_its_migrations() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_compiles_and_has_no_inline_script_or_style(path: Path) -> None:
    """The content security policy forbids both, so what is inline would silently not work."""
    get_template(str(path.relative_to(ROOT / "templates")))
    text = path.read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)(?![^>]*type=\"application/(?:ld\+)?json\")[^>]*>", text) == []
    assert re.findall(r"<style\b|\sstyle=[\"']|\son[a-z]+=[\"']|javascript:", text) == []


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git clone")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Spelled in halves, so that this file does not find itself.
FORBIDDEN = re.compile("/ho" r"me/\w+/|/Us" r"ers/\w+/|/ro" r"ot/\w|BEGIN [A-Z ]*PRIV" "ATE KEY-----\n")


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    text_files = (
        path for path in tracked() if path.suffix in {".py", ".md", ".toml", ".html", ".txt", ".yml", ".json", ".in"}
    )
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in text_files
        if (match := FORBIDDEN.search(path.read_text(errors="replace")))
    }
    assert found == set()


@pytest.mark.parametrize("room", ["", "-dev", "-redis", "-s3"])
def test_a_lock_file_holds_names_and_hashes_only(room: str) -> None:
    for line in (ROOT / f"requirements{room}.txt").read_text().splitlines():
        assert re.fullmatch(
            r"(#.*|)|[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[A-Za-z0-9.+!_-]+( ; .+)? \\"
            r"|    --hash=sha256:[0-9a-f]{64}( \\)?",
            line,
        ), line
        assert "://" not in line
