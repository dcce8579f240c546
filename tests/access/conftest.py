"""What tests of access share."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.access.desk import Desk, furnished
from tests.access.grants import LetIn
from tests.cast import Cast


@pytest.fixture
def desk(hub: list[str], cast: Cast) -> Iterator[Desk]:
    """A hub that runs, furnished for programs."""
    with furnished(hub[0], cast) as desk:
        yield desk


@pytest.fixture
def program(cast: Cast) -> LetIn:
    """A program that uma let in at acme, in this process."""
    return LetIn(cast)


@pytest.fixture
def fresh_buckets() -> Iterator[None]:
    """Nothing is counted yet, and what this test counts is not held against the next one."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("DELETE FROM access_bucket")
        yield
        owner.execute("DELETE FROM access_bucket")
