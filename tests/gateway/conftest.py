"""What tests of the endpoint share."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from tenants.models import User
from tests.cast import Cast
from tests.host import MODERN, Host

Make = Callable[..., Host]


@pytest.fixture
def host(hub: list[str], cast: Cast) -> Make:
    """Make a host of acme with uma's key; say otherwise by keyword."""

    def make(user: User | None = None, *, worker: int = 0, revision: str = MODERN, **key: object) -> Host:
        _, secret = cast.key(user or cast.uma, **key)  # type: ignore[arg-type]
        return Host(hub[worker], cast.acme.slug, secret, revision)

    return make


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30, follow_redirects=False) as client:
        yield client
