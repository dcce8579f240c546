"""Jobs over REST: who may look, what they see, and what the OpenAPI document promises of it."""

import uuid
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from access.actions import revoke_key
from access.models import APIKey
from tenants.models import Role, User
from tests.cast import Cast
from tests.jobs.front import Front, change, claim, end, front
from tests.ledger import refusals
from tests.waiting import until
from tools.values import Image, Result, Text

WAYS = pytest.mark.parametrize(
    ("method", "tail"), [("GET", "/"), ("GET", "/result/"), ("POST", "/cancel/"), ("GET", "/events")]
)


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Front:
    return front(cast, hub[0])


@pytest.fixture(scope="session")
def document(hub: list[str]) -> Any:
    answer = httpx2.get(f"{hub[0]}/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def ids(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["results"]]


def error(answer: httpx2.Response) -> Any:
    return answer.json()["error"]


def test_a_member_lists_their_own_jobs_the_newest_first(scene: Front) -> None:
    mine = [scene.job(scene.cast.uma) for _ in range(3)]
    scene.job(scene.cast.olga)
    with scene.client(scene.cast.uma) as uma:
        assert ids(uma.get("jobs/")) == [str(job.id) for job in reversed(mine)]


@pytest.mark.parametrize(
    ("who", "sees"), [("olga", True), ("adam", True), ("audrey", True), ("anna", False), ("uma", False)]
)
def test_owners_admins_and_auditors_list_the_jobs_of_others(scene: Front, who: str, sees: bool) -> None:
    bobs = scene.job(scene.cast.bob, scene.cast.beta)
    newcomer = scene.cast.join(scene.cast.acme, "nina", Role.USER).user
    job = scene.job(newcomer)
    with scene.client(getattr(scene.cast, who)) as client:
        found = ids(client.get("jobs/", params={"mine": "no"}))
        assert (str(job.id) in found) is sees
        assert str(bobs.id) not in found
        assert ids(client.get("jobs/")) == []


def test_a_list_comes_in_pages(scene: Front) -> None:
    jobs = [str(scene.job(scene.cast.uma).id) for _ in range(5)]
    with scene.client(scene.cast.uma) as uma:
        first = uma.get("jobs/", params={"limit": "2"})
        second = uma.get(first.json()["next"])
        third = uma.get(second.json()["next"])
        assert third.json()["next"] is None
        assert [*ids(first), *ids(second), *ids(third)] == jobs[::-1]
        assert ids(uma.get(second.json()["previous"])) == jobs[:2:-1]


def test_a_list_is_narrowed_by_state_and_tool(scene: Front) -> None:
    waiting, ended = scene.job(scene.cast.uma), scene.job(scene.cast.uma)
    end(ended)
    with scene.client(scene.cast.uma) as uma:
        assert ids(uma.get("jobs/", params={"state": "queued"})) == [str(waiting.id)]
        assert ids(uma.get("jobs/", params={"state": "succeeded", "tool": "echo"})) == [str(ended.id)]
        assert ids(uma.get("jobs/", params={"tool": "other"})) == []


@pytest.mark.parametrize("query", ["tool=%E5%B7%A5", "tool=%FF", "%FF=1"])
def test_a_query_may_spell_any_text(scene: Front, query: str) -> None:
    with scene.client(scene.cast.uma) as uma:
        assert uma.get(f"jobs/?{query}").status_code == 200
        assert error(uma.get(f"jobs/?{query}&access_token=x"))["reason"] == "token_in_url"


@pytest.mark.parametrize(
    "query",
    [{"state": "nonsense"}, {"mine": "perhaps"}, {"cursor": "a"}, {"cursor": "cD1ub3BlJTAw"}, {"tool": "\0"}],
)
def test_a_query_that_means_nothing_is_refused_with_what_is_wrong(scene: Front, query: dict[str, str]) -> None:
    with scene.client(scene.cast.uma) as uma:
        answer = uma.get("jobs/", params=query)
        assert (answer.status_code, error(answer)["reason"]) == (400, "invalid_request"), answer.text
        assert error(answer)["retryable"] is False


def test_a_job_says_where_it_is(scene: Front) -> None:
    scene.job(scene.cast.olga)
    job = scene.job(scene.cast.uma, preview={"text": "hello", "password": "[redacted]"})
    with scene.client(scene.cast.uma) as uma:
        body = uma.get(f"jobs/{job.id}/").json()
        assert (body["state"], body["tool"], body["place"], body["username"]) == (
            "queued",
            "echo",
            1,
            scene.cast.uma.username,
        )
        assert body["arguments"] == {"text": "hello", "password": "[redacted]"}
        assert body["check_after"] == 1
        change(job, "progress = 3, total = 12, message = 'reading'")
        assert uma.get(body["url"]).json()["progress"] == {"done": 3, "total": 12, "message": "reading"}
        end(job)
        body = uma.get(f"jobs/{job.id}/").json()
        assert (body["state"], body["place"], body["check_after"]) == ("succeeded", None, None)
        assert body["ended_at"] < body["expires_at"]
        assert uma.get(body["result_url"]).json()["result"]["content"] == [{"type": "text", "text": "done"}]


@WAYS
def test_an_id_that_is_not_yours_to_see_answers_like_one_that_is_not_there(
    scene: Front, method: str, tail: str
) -> None:
    own = scene.job(scene.cast.uma)
    others = scene.job(scene.cast.olga)
    foreign = scene.job(scene.cast.bob, scene.cast.beta)
    asked = [str(others.id), str(foreign.id), str(uuid.uuid4()), str(own.id).upper(), "nonsense", "%00", "0", "a" * 500]
    with scene.client(scene.cast.uma) as uma:
        answers = [uma.request(method, f"jobs/{one}{tail}") for one in asked]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert error(answers[0])["reason"] == "unknown_job"
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1
    assert others.row()["cancel_at"] is None
    assert foreign.row()["cancel_at"] is None


def test_an_auditor_reads_a_job_and_cannot_stop_it(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.audrey) as audrey:
        assert audrey.get(f"jobs/{job.id}/").status_code == 200
        answer = audrey.post(f"jobs/{job.id}/cancel/")
    assert (answer.status_code, error(answer)["reason"]) == (403, "not_allowed")
    assert job.row()["state"] == "queued"


@pytest.mark.parametrize("who", ["uma", "adam", "olga"])
def test_whose_job_it_is_and_who_manages_the_tenant_stop_it(scene: Front, who: str) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(getattr(scene.cast, who)) as client:
        answer = client.post(f"jobs/{job.id}/cancel/")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert job.row()["cancelled_by"] == getattr(scene.cast, who).username
    assert ("job.cancelled", "cancelled") in job.events()


def test_a_running_job_is_asked_to_stop_and_one_that_has_ended_stays_as_it_is(scene: Front) -> None:
    running, ended = scene.job(scene.cast.uma), scene.job(scene.cast.uma)
    claim(running)
    end(ended)
    with scene.client(scene.cast.uma) as uma:
        asked = uma.post(f"jobs/{running.id}/cancel/")
        stays = uma.post(f"jobs/{ended.id}/cancel/")
    assert (asked.status_code, asked.json()["state"], asked.json()["cancelling"]) == (202, "running", True)
    assert (stays.status_code, stays.json()["state"], stays.json()["cancelling"]) == (200, "succeeded", False)


def test_a_result_is_there_when_the_job_has_ended(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma:
        early = uma.get(f"jobs/{job.id}/result/")
        assert (early.status_code, error(early)["reason"], error(early)["retryable"]) == (409, "not_ended", True)
        assert early.headers["retry-after"] == "1"
        end(
            job,
            result=Result(content=(Text(text="a"), Image(data="aGk=", mime_type="image/png")), structured={"n": None}),
        )
        body = uma.get(f"jobs/{job.id}/result/").json()
    assert body == {
        "id": str(job.id),
        "state": "succeeded",
        "reason": "",
        "ask_at": None,
        "result": {
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "data": "aGk=", "mimeType": "image/png"},
            ],
            "structuredContent": {"n": None},
            "isError": False,
        },
        "error": None,
        "download_url": None,
    }


def test_a_job_that_the_hub_could_not_finish_says_why(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    failure = {"code": -32603, "message": "It was interrupted."}
    end(job, "interrupted", None, reason="process_gone", error=failure)
    with scene.client(scene.cast.uma) as uma:
        body = uma.get(f"jobs/{job.id}/result/").json()
    assert (body["state"], body["reason"], body["result"], body["error"]) == (
        "interrupted",
        "process_gone",
        None,
        failure,
    )


def test_a_result_that_was_dropped_is_gone_and_its_job_is_still_there(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    end(job)
    change(job, "expires_at = NULL, result = NULL, arguments = NULL")
    with scene.client(scene.cast.uma) as uma:
        answer = uma.get(f"jobs/{job.id}/result/")
        assert (answer.status_code, error(answer)["reason"]) == (410, "forgotten")
        assert uma.get(f"jobs/{job.id}/").json()["forgotten"] is True


@pytest.mark.parametrize("path", ["jobs/", "jobs/{}/", "jobs/{}/result/", "jobs/{}/events"])
def test_who_presents_nothing_or_something_else_gets_a_challenge(scene: Front, path: str) -> None:
    path = path.format(scene.job(scene.cast.uma).id)
    metadata = f'resource_metadata="{scene.base}/.well-known/oauth-protected-resource/t/{scene.cast.acme.slug}/mcp"'
    with scene.with_key(None) as nobody:
        answer = nobody.get(path)
        assert (answer.status_code, error(answer)["reason"]) == (401, "no_credential")
        assert metadata in answer.headers["www-authenticate"]
        assert "error=" not in answer.headers["www-authenticate"]
    with scene.with_key("mcphub_key_" + "x" * 40) as stranger:
        answer = stranger.get(path)
        assert (answer.status_code, error(answer)["reason"]) == (401, "unknown_credential")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    foreign = scene.cast.key(scene.cast.bob, scene.cast.beta)[1]
    with scene.with_key(foreign) as bob:
        assert bob.get(path).content == answer.content
    # Nobody waits for these entries, so they may come after the answer.
    wanted = {"unknown_credential", "foreign_token"}
    until(lambda: wanted <= {entry.reason for entry in refusals(scene.cast, scene.cast.acme)})


def test_a_revoked_key_is_refused_on_the_next_request(scene: Front) -> None:
    key, secret = scene.cast.key(scene.cast.uma)
    with scene.with_key(secret) as uma:
        assert uma.get("jobs/").status_code == 200
        _revoke(scene, key, scene.cast.uma)
        assert uma.get("jobs/").status_code == 401


def _revoke(scene: Front, key: APIKey, by: User) -> None:
    with scene.cast.see(scene.cast.acme):
        revoke_key(key, actor=by.username)


@pytest.mark.parametrize("slug", ["nobody-has-this", "UPPER", "with_underscore", "a%00b", "-", "x" * 300])
@pytest.mark.parametrize("path", ["jobs/", "jobs/0/", "jobs/0/events"])
def test_a_tenant_that_is_not_there_says_nothing_else(scene: Front, slug: str, path: str) -> None:
    with scene.client(scene.cast.uma) as uma:
        answer = uma.get(f"{scene.base}/api/v1/t/{slug}/{path}")
    assert (answer.status_code, error(answer)["message"]) == (404, "There is nothing here.")


def test_a_credential_in_the_address_is_refused(scene: Front) -> None:
    _, secret = scene.cast.key(scene.cast.uma)
    with scene.with_key(None) as client:
        for path in ("jobs/", "jobs/0/events"):
            answer = client.get(path, params={"access_token": secret})
            assert (answer.status_code, error(answer)["reason"]) == (400, "token_in_url")
            assert 'error="invalid_request"' in answer.headers["www-authenticate"]


def test_a_key_in_its_own_header_is_taken(scene: Front) -> None:
    _, secret = scene.cast.key(scene.cast.uma)
    with scene.with_key(None, x_api_key="") as client:
        assert client.get("jobs/", headers={"x-api-key": secret}).status_code == 200


def test_a_method_that_is_not_there_is_refused_in_json(scene: Front) -> None:
    job = scene.job(scene.cast.uma)
    with scene.client(scene.cast.uma) as uma:
        for path in (f"jobs/{job.id}/", f"jobs/{job.id}/events"):
            answer = uma.delete(path)
            assert (answer.status_code, error(answer)["reason"]) == (405, "wrong_method")
            assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "PROPFIND"])
@pytest.mark.parametrize("path", ["", "nonsense", "t/", "t/x/jobs", "t/x/jobs/1/2/3", "t/x/tools/", "a%0Ab/%00"])
def test_a_path_that_is_not_there_is_answered_like_all_else(scene: Front, path: str, method: str) -> None:
    with scene.with_key(None, accept="text/html") as client:
        answer = client.request(method, f"{scene.base}/api/v1/{path}", headers={"origin": scene.base})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == scene.base
    if method != "HEAD":
        assert error(answer) == {"reason": "not_found", "message": "There is nothing here.", "retryable": False}


def test_the_document_is_only_read(scene: Front) -> None:
    with scene.with_key(None) as client:
        answer = client.post(f"{scene.base}/api/v1/openapi.json")
        assert (answer.status_code, error(answer)["reason"]) == (405, "wrong_method")
        assert "GET" in answer.headers["allow"]
        assert client.head(f"{scene.base}/api/v1/openapi.json").status_code == 200


@pytest.mark.parametrize("path", ["jobs/", "jobs/{}/events"])
def test_pages_of_allowed_origins_may_ask_and_others_may_not(scene: Front, path: str) -> None:
    path = path.format(scene.job(scene.cast.uma).id)
    with scene.client(scene.cast.uma) as uma:
        asked = uma.request("OPTIONS", path, headers={"origin": scene.base})
        assert asked.status_code == 204
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        assert asked.headers["access-control-allow-origin"] == scene.base
        answer = uma.get(path.replace("/events", "/result/"), headers={"origin": scene.base})
        assert answer.headers["access-control-allow-origin"] == scene.base
        assert "Origin" in answer.headers["vary"]
        evil = uma.get(path, headers={"origin": "https://evil.example"})
        assert (evil.status_code, error(evil)["reason"]) == (403, "wrong_peer")
        assert "access-control-allow-origin" not in evil.headers


def test_answers_are_kept_by_no_cache(scene: Front) -> None:
    with scene.client(scene.cast.uma) as uma:
        assert "no-store" in uma.get("jobs/").headers["cache-control"]


def test_what_is_answered_is_what_the_document_promises(scene: Front, document: Any) -> None:
    waiting, ended, failed = (scene.job(scene.cast.uma, preview={"text": "hello"}) for _ in range(3))
    end(ended)
    end(failed, "interrupted", None, reason="process_gone", error={"code": -32603, "message": "It was interrupted."})
    with scene.client(scene.cast.uma) as uma:
        for job in (waiting, ended, failed):
            _check(document, uma, "GET", "/{job_id}/", job.id)
            _check(document, uma, "GET", "/{job_id}/result/", job.id)
        _check(document, uma, "POST", "/{job_id}/cancel/", waiting.id)
        _check(document, uma, "GET", "/", waiting.id)
        _check(document, uma, "GET", "/{job_id}/", uuid.uuid4())
        _check(document, uma, "GET", "/{job_id}/events", uuid.uuid4())


def _check(document: Any, client: httpx2.Client, method: str, tail: str, job_id: uuid.UUID) -> None:
    answer = client.request(method, "jobs" + tail.format(job_id=job_id))
    promised = document["paths"]["/api/v1/t/{slug}/jobs" + tail][method.lower()]["responses"][str(answer.status_code)]
    schema = {**promised["content"]["application/json"]["schema"], "components": document["components"]}
    jsonschema_rs.validator_for(schema).validate(answer.json())


def test_the_document_says_how_to_present_a_credential(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    listing = document["paths"]["/api/v1/t/{slug}/jobs/"]["get"]
    assert listing["security"] == [{"credential": []}, {"key": []}]
    assert {parameter["name"] for parameter in listing["parameters"]} == {
        "slug",
        "state",
        "tool",
        "mine",
        "cursor",
        "limit",
    }
    assert document["components"]["securitySchemes"]["credential"]["scheme"] == "bearer"
