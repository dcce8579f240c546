"""What opens something to whoever has it does not lie about in logs."""

import pytest
from django.test import Client

from jobs import callbacks, downloads
from tenants import views


@pytest.mark.parametrize(
    ("path", "view", "step"),
    [
        ("/r/opens-a-result", downloads, "_row"),
        ("/join/opens-a-tenant", views, "invitations"),
        ("/c/takes-a-call-back", callbacks, "_answer"),
    ],
)
def test_the_log_of_an_error_does_not_hold_the_link_that_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, view: object, step: str
) -> None:
    monkeypatch.setattr(view, step, None)  # the hub fails there
    client = Client(raise_request_exception=False)
    assert (client.post(path) if path.startswith("/c/") else client.get(path)).status_code == 500
    assert caplog.records
    assert path.rpartition("/")[2] not in caplog.text
