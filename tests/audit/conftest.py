"""What tests of the ledger share."""

from collections.abc import Callable
from typing import Any

import pytest

from audit.models import Entry
from tests.cast import Cast
from tests.gateway.conftest import Make, host

__all__ = ["Make", "host"]

Ledger = Callable[..., list[Any]]
ROW = {"tenant_id": 1, "event": "changed", "actor": "test"}


@pytest.fixture
def ledger(cast: Cast) -> Callable[..., list[Entry]]:
    """The entries of acme's calls, oldest first; of its changes when asked."""

    def read(*, changes: bool = False) -> list[Entry]:
        with cast.see(cast.acme):
            entries = Entry.objects.filter(tenant_id=cast.acme.pk).order_by("at", "id")
            return [one for one in entries if (one.event == "changed") is changes]

    return read
