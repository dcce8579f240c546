"""What all tests of jobs start from."""

import pytest

from tests.jobs.place import end_what_no_worker_holds


@pytest.fixture(autouse=True)
def _places_are_free() -> None:
    end_what_no_worker_holds()
