"""Settings: each has its heading in the reference, and nonsense is one sentence."""

import os
import re
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mcphub import env
from mcphub.stack import config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text()


@pytest.mark.check
def test_the_reference_has_a_heading_for_every_setting_and_for_nothing_else() -> None:
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == sorted(env.DECLARED | config.DECLARED)


@pytest.mark.check
def test_every_setting_is_told_with_its_default() -> None:
    for section in PAGE.split("\n## ")[1:]:
        name, _, text = section.partition("\n")
        assert "Default:" in text, name
        assert len(text.strip().split("\n\n")) == 1, name


@pytest.mark.check
def test_no_setting_is_read_past_the_helpers() -> None:
    """Only the two places that declare what they read look into the environment."""
    allowed = {"mcphub/env.py", "mcphub/stack/config.py", "mcphub/stack/supervisor.py"}
    allowed |= {"mcphub/asgi.py", "mcphub/worker.py"}  # which name the settings module
    floors = ("mcphub", "gateway", "tools", "policy", "access", "tenants", "audit", "lib")
    found = {
        str(path.relative_to(ROOT))
        for floor in floors
        for path in (ROOT / floor).rglob("*.py")
        if re.search(r"\benviron\b|\bgetenv\b", path.read_text())
    }
    assert {name for name in found - allowed if "os.environ" in (ROOT / name).read_text()} == set()


NONSENSE = [
    ("PORT", "eighty", "PORT is 'eighty'; it takes a whole number from 1 to 65535."),
    ("PORT", "0", "PORT is 0; it takes a whole number from 1 to 65535."),
    ("DATABASE_POOL", "1", "DATABASE_POOL is 1; it takes a whole number from 2 to 200."),
    ("LEDGER_QUEUE", "-1", "LEDGER_QUEUE is -1; it takes a whole number from 1 to 100000."),
    ("MAX_BODY_BYTES", "4MB", "MAX_BODY_BYTES is '4MB'; it takes a whole number from 1024 to 67108864."),
    ("DEBUG", "maybe", "DEBUG is 'maybe'; it takes yes or no."),
    ("BEHIND_PROXY", "2", "BEHIND_PROXY is '2'; it takes yes or no."),
    *(
        (
            "INPUT_CLASSIFIER",
            value,
            f"INPUT_CLASSIFIER is {value!r}; it takes builtin or a path like package.module.Name.",
        )
        for value in ("off", "nowhere.at.all.Judge", "lib.detect.nothing.Judge", ".Judge")
    ),
    ("LOG_LEVEL", "loud", "LOG_LEVEL is 'LOUD'; it takes one of DEBUG, INFO, WARNING, ERROR, CRITICAL."),
    *(
        ("BASE_URL", value, f"BASE_URL is {value!r}; it takes an origin like https://mcp.example.com.")
        for value in (
            "mcp.example.com",
            "ftp://x.example.com",
            "https://x.example.com/path",
            "https://x.example.com?a=b",
            "http://x:99999",
            "http://x:port",
            "https://me:secret@x.example.com",
        )
    ),
    (
        "DATABASE_URL",
        "mysql://me:hunter2@db/x",
        "DATABASE_URL is not a Postgres URL like postgresql://user:password@host/db.",
    ),
    (
        "DATABASE_OWNER_URL",
        "nonsense",
        "DATABASE_OWNER_URL is not a Postgres URL like postgresql://user:password@host/db.",
    ),
]


@pytest.mark.parametrize(("name", "value", "sentence"), NONSENSE)
def test_nonsense_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as told:
        runpy.run_path(str(ROOT / "mcphub" / "settings.py"))
    assert str(told.value) == sentence
    assert "hunter2" not in "".join(traceback.format_exception(told.value))


def test_nonsense_ends_a_process_with_its_sentence() -> None:
    name, value, sentence = next(one for one in NONSENSE if "hunter2" in one[1])
    ended = subprocess.run(
        [sys.executable, "-c", "import mcphub.settings"],
        env={**os.environ, name: value},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    last = ended.stderr.strip().splitlines()[-1]
    assert last == f"django.core.exceptions.ImproperlyConfigured: {sentence}"
    assert "hunter2" not in ended.stderr


def test_a_blank_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "  ")
    assert env.number("PORT", 8000, low=1, high=65535) == 8000
