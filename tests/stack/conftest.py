"""One throw-away cluster for the tests that only look; folders that Postgres can reach for those that break things."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcphub.stack.postgres import Postgres


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder directly below the temporary folder; pytest's own is closed to the account Postgres runs as."""
    folder = Path(tempfile.mkdtemp(prefix="mcphub-stack-"))
    folder.chmod(0o711)
    yield folder / "data"
    Postgres(folder / "data").remove()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared() -> Iterator[Postgres]:
    """A running cluster that tests do not stop or damage."""
    folder = Path(tempfile.mkdtemp(prefix="mcphub-stack-"))
    folder.chmod(0o711)
    postgres = Postgres(folder / "data", durable=False)
    postgres.start(tied=True)
    yield postgres
    postgres.remove()
    shutil.rmtree(folder)
