"""What tests of kill switches share."""

import pytest

from tests.cast import Cast
from tests.jobs.place import end_what_no_worker_holds
from tests.oversight.scene import Scene


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Scene:
    return Scene(cast=cast, hub=hub)


@pytest.fixture(autouse=True)
def _places_are_free() -> None:
    end_what_no_worker_holds()
