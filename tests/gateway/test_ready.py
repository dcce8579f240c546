"""Whether the hub lives, and whether it is ready."""

import httpx2

from tests import database
from tests.gateway.strangers import bearer
from tests.host import Answer
from tests.servers import serve


def test_a_ready_hub_says_so(hub: list[str], client: httpx2.Client) -> None:
    assert client.get(f"{hub[0]}/livez").json() == {"status": "ok"}
    answer = client.get(f"{hub[0]}/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["checks"].values()) == {"ok"}


def test_without_its_database_the_hub_lives_but_is_not_ready(client: httpx2.Client) -> None:
    with database.doomed() as (environment, drop), serve(count=1, **environment) as (base,):
        drop()
        answer = client.get(f"{base}/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] == "does not answer"
        assert client.get(f"{base}/livez").status_code == 200
        call = Answer(client.post(f"{base}/t/acme/mcp", headers=bearer("any"), json={}))
        assert (call.status, call.error["code"]) == (503, -32002)
        assert call.error["data"] == {"reason": "unavailable", "retryable": True, "retryAfter": 5.0}
        assert call.headers["retry-after"] == "5"
        assert "psycopg" not in call.response.text
