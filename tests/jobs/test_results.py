"""Results too large for a model or a row: a summary with a link, and what the link opens, for whom and how long."""

import datetime
import os
import re
import stat
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from jobs import results, sealed
from lib import storage
from lib.schema import compile_schema
from mcphub import env
from tests.cast import Cast
from tests.jobs.desk import Desk, desk
from tests.jobs.front import Front, change, end, front
from tests.jobs.place import Placed, place
from tests.postgres import as_app, as_owner, rows
from tests.waiting import until
from tools.values import ABSENT, Image, Result

FOLDER = Path(os.environ["DATA_DIR"]) / "results"
LARGE = Result.of_text("A line of a long report.\n" * 10_000)
TABLE = Result(structured={"rows": [{"n": number} for number in range(20_000)], "total": 20_000})


@dataclass(frozen=True, kw_only=True)
class Scene:
    """uma's job, her key, and what her tool may give."""

    front: Front
    desk: Desk
    secret: str
    job: Placed

    async def keep(self, result: Result, **tool: Any) -> results.Kept:
        live = (await self.desk.catalog()).tools["echo"]
        return await results.keep(self.job.id, replace(live, output=None, **tool), result)

    async def ended_with(self, result: Result, **tool: Any) -> Any:
        """What a program then gets."""
        end(self.job, result=await self.keep(result, **tool))
        return self.result()

    def result(self) -> Any:
        with self.front.with_key(self.secret) as uma:
            answer = uma.get(f"jobs/{self.job.id}/result/")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def files(self) -> list[Path]:
        return [file for file in FOLDER.rglob("*") if str(self.job.id) in file.name]


@pytest.fixture
def scene(cast: Cast, hub: list[str]) -> Scene:
    made = front(cast, hub[0])
    return Scene(front=made, desk=desk(cast, cast.uma), secret=cast.key(cast.uma)[1], job=made.job(cast.uma))


async def test_a_result_that_fits_is_in_its_row_and_nowhere_else(running: None, scene: Scene) -> None:
    body = await scene.ended_with(Result.of_text("short"))
    assert (body["result"]["content"], body["download_url"]) == ([{"type": "text", "text": "short"}], None)
    assert scene.files() == []


@pytest.mark.parametrize("bound", [{"max_result": 1000}, {"max_result": 10_000_000}])
async def test_a_result_too_large_for_the_model_or_the_row_becomes_a_summary_with_a_link(
    running: None, scene: Scene, bound: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.JOBS_INLINE_RESULT", 1000 if bound["max_result"] > 1000 else 10_000_000)
    body = await scene.ended_with(LARGE, **bound)
    first, words, link = body["result"]["content"]
    assert "echo gave 250000 bytes" in first["text"]
    assert "A line of a long report." in first["text"]
    assert len(first["text"]) < 2500
    assert (link["type"], link["mimeType"]) == ("resource_link", "text/plain")
    assert link["uri"] == body["download_url"]
    assert link["uri"] in words["text"]
    assert body["result"]["isError"] is False


async def test_the_link_opens_the_whole_without_any_credential_and_harmlessly(running: None, scene: Scene) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    assert url.startswith(f"{scene.front.base}/r/")
    answer = httpx2.get(url)
    assert answer.status_code == 200
    assert answer.text == LARGE.content[0].text  # type: ignore[union-attr]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="echo-{scene.job.id}.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "no-store" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    assert httpx2.post(url).status_code == 405


async def test_structured_content_is_downloaded_as_json_and_named_in_the_summary(running: None, scene: Scene) -> None:
    body = await scene.ended_with(TABLE)
    assert "an object of rows (20000), total" in body["result"]["content"][0]["text"]
    assert "structuredContent" not in body["result"]
    answer = httpx2.get(body["download_url"])
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["content-disposition"].endswith('.json"')
    assert answer.json() == TABLE.structured


async def test_small_structured_content_stays_beside_the_summary_of_large_content(running: None, scene: Scene) -> None:
    mixed = Result(content=(*LARGE.content, Image(data="aGk=", mime_type="image/png")), structured={"lines": 10_000})
    body = await scene.ended_with(mixed)
    assert body["result"]["structuredContent"] == {"lines": 10_000}
    assert "1 x text; 1 x image; an object of lines" in body["result"]["content"][0]["text"]


async def test_what_is_no_text_and_has_no_structure_is_downloaded_as_hosts_know_it(running: None, scene: Scene) -> None:
    picture = Result(content=(Image(data="aGk=" * 50_000, mime_type="image/png"),))
    answer = httpx2.get((await scene.ended_with(picture))["download_url"])
    assert answer.json() == {
        "content": [{"type": "image", "data": "aGk=" * 50_000, "mimeType": "image/png"}],
        "isError": False,
    }


async def test_a_summary_that_cannot_keep_the_promised_structure_is_an_error(running: None, scene: Scene) -> None:
    promised = compile_schema({"type": "object", "required": ["rows"]})
    live = (await scene.desk.catalog()).tools["echo"]
    kept = await results.keep(scene.job.id, replace(live, output=promised), TABLE)
    summary = sealed.unseal_result(kept.inline)
    assert (summary.is_error, summary.reason, summary.structured) == (True, "result_too_large", ABSENT)
    end(scene.job, "failed", result=kept)
    assert httpx2.get(scene.result()["download_url"]).json() == TABLE.structured


async def test_what_lies_in_storage_is_sealed_and_readable_by_the_hub_alone(running: None, scene: Scene) -> None:
    await scene.ended_with(LARGE)
    (file,) = scene.files()
    assert b"long report" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == stat.S_IMODE(FOLDER.stat().st_mode) == 0o700
    with as_owner() as conn:
        ((row,),) = rows(conn, "SELECT j::text FROM jobs_job j WHERE id = %s", scene.job.id)
    assert "long report" not in row
    assert "long report" not in bytes(scene.job.row()["result"]).decode()


def token(url: str) -> str:
    return url.rpartition("/")[2]


async def test_a_link_that_was_tampered_with_or_made_up_opens_nothing(running: None, scene: Scene) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    claims, signature = token(url).split(".")
    other = uuid.uuid4()
    forged = [
        f"{claims}.{signature[:-1]}{'a' if signature[-1] != 'a' else 'b'}",
        f"{claims[:-2]}AA.{signature}",
        claims,
        f".{signature}",
        "x",
        "%00",
        "a" * 5000,
        token(storage.signed(scene.front.cast.beta.pk, scene.job.id, _later())),
        token(storage.signed(scene.front.cast.acme.pk, other, _later())),
    ]
    answers = [httpx2.get(f"{scene.front.base}/r/{one}") for one in forged]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert all("sandbox" in answer.headers["content-security-policy"] for answer in answers)


def _later() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(hours=1)


async def test_a_link_expires_with_the_result(running: None, scene: Scene) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    old = storage.signed(scene.front.cast.acme.pk, scene.job.id, timezone.now() - datetime.timedelta(seconds=1))
    assert httpx2.get(f"{scene.front.base}{old}").status_code == 404
    assert httpx2.get(url).status_code == 200
    change(scene.job, "expires_at = now() - interval '1 s'")
    assert httpx2.get(url).status_code == 404


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants_tenant SET enabled = false WHERE id = (SELECT tenant_id FROM jobs_job WHERE id = %s)",
        "UPDATE tenants_member SET active = false WHERE id = (SELECT member_id FROM jobs_job WHERE id = %s)",
        "UPDATE tenants_user SET is_active = false WHERE id = ("
        "SELECT m.user_id FROM jobs_job j JOIN tenants_member m ON m.id = j.member_id WHERE j.id = %s)",
    ],
)
async def test_a_link_opens_nothing_once_its_person_may_no_longer_act(
    running: None, scene: Scene, statement: str
) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    with as_owner() as conn:
        conn.execute(statement, [scene.job.id])
    assert httpx2.get(url).status_code == 404


async def test_a_result_that_is_forgotten_is_gone_from_storage(running: None, scene: Scene) -> None:
    await scene.ended_with(LARGE)
    change(scene.job, "expires_at = now() - interval '1 s'")
    key = scene.job.row()["result_key"]
    with as_app() as conn:
        until(lambda: rows(conn, "SELECT jobs_forget()") is not None and not scene.job.row()["result_key"])
    storage.delete(key)
    storage.delete(key)
    assert scene.files() == []
    with pytest.raises(storage.Missing):
        await storage.get(key)


async def test_a_file_that_is_lost_is_a_404_and_its_summary_is_still_there(running: None, scene: Scene) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    scene.files()[0].unlink()
    assert httpx2.get(url).status_code == 404
    assert "echo gave" in scene.result()["result"]["content"][0]["text"]


async def test_while_the_storage_is_away_the_link_says_to_come_back(running: None, scene: Scene) -> None:
    url = (await scene.ended_with(LARGE))["download_url"]
    file = scene.files()[0]
    file.unlink()
    file.mkdir()
    answer = httpx2.get(url)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "again in a minute" in answer.text
    file.rmdir()


async def test_when_storage_fails_the_beginning_is_kept_and_says_so(
    running: None, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(key: str, data: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(storage, "put", fail)
    body = await scene.ended_with(LARGE)
    first, words = body["result"]["content"]
    assert "A line of a long report." in first["text"]
    assert "could not be kept" in words["text"]
    assert body["download_url"] is None


async def test_what_is_beyond_all_bounds_says_what_to_do(
    running: None, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST", 1000)
    kept = await scene.keep(LARGE)
    found = sealed.unseal_result(kept.inline)
    assert (found.is_error, found.reason, kept.key) == (True, "result_too_large", "")
    assert scene.files() == []


async def test_two_attempts_never_write_to_the_same_place(running: None, scene: Scene) -> None:
    one, other = await scene.keep(LARGE), await scene.keep(LARGE)
    assert one.key != other.key
    assert len(scene.files()) == 2


async def test_the_first_result_of_a_day_is_on_disk_with_all_that_leads_to_it(
    running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr("lib.storage.os.fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    key = storage.new_key(uuid.uuid4(), timezone.now())
    await storage.put(key, b"x")
    file = FOLDER / key
    assert synced == {path.stat().st_ino for path in (file, file.parent, FOLDER)}
    storage.delete(key)


async def test_what_no_row_names_is_cleared_by_days(running: None) -> None:
    job = uuid.uuid4()
    old, new = (storage.new_key(job, day) for day in (datetime.datetime(2020, 2, 3), timezone.now()))  # noqa: DTZ001
    for key in (old, new):
        await storage.put(key, b"x")
    storage.clear((timezone.now() - datetime.timedelta(days=32)).date())
    assert await storage.get(new) == b"x"
    with pytest.raises(storage.Missing):
        await storage.get(old)
    assert not (FOLDER / "2020-02-03").exists()
    storage.delete(new)


def test_the_bucket_of_a_storage_service_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "find_spec", lambda name: object())
    monkeypatch.setenv("RESULTS_STORAGE", "s3://reports/hub/")
    found = env.storage("RESULTS_STORAGE", FOLDER)
    assert found["BACKEND"] == "storages.backends.s3.S3Storage"
    assert (found["OPTIONS"]["bucket_name"], found["OPTIONS"]["location"]) == ("reports", "hub")


@pytest.mark.parametrize("url", ["s3://", "https://bucket", "s3://key:secret@bucket/x", "s3://b/x?y=z", "/srv/results"])
def test_a_storage_that_means_nothing_keeps_the_hub_from_starting(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RESULTS_STORAGE", url)
    with pytest.raises(ImproperlyConfigured, match="s3://bucket/prefix"):
        env.storage("RESULTS_STORAGE", FOLDER)


def test_a_storage_whose_package_is_missing_keeps_the_hub_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "find_spec", lambda name: None)
    monkeypatch.setenv("RESULTS_STORAGE", "s3://reports")
    with pytest.raises(ImproperlyConfigured, match=re.escape("django-storages[s3]")):
        env.storage("RESULTS_STORAGE", FOLDER)


def test_what_a_worker_was_given_in_full_is_downloaded_from_any_web_server(
    cast: Cast, hub: list[str], worker: int
) -> None:
    job = place(cast).start(cast.tool(cast.acme, "long_text"), {"length": 300_000})
    assert job.until_ended()["state"] == "succeeded"
    headers = {"authorization": f"Bearer {cast.key(cast.uma)[1]}"}
    answer = httpx2.get(f"{hub[0]}/api/v1/t/{cast.acme.slug}/jobs/{job.id}/result/", headers=headers)
    path = answer.json()["download_url"].removeprefix(hub[0])
    assert len(httpx2.get(f"{hub[1]}{path}").text) == 300_000
