"""Keys that rotate under jobs: all that is kept of them is sealed anew, and what runs meanwhile is not disturbed."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from jobs import reseal, sealed
from jobs.asking import asked_inputs, open_questions
from jobs.models import Callback, Job, State
from lib import seal, storage
from tests.cast import Cast
from tests.jobs.made import made, slow_tool
from tests.postgres import as_owner
from tools.models import Tool
from tools.values import Result

NEW = Fernet.generate_key().decode()
ASKED = {"name": {"message": "Who?", "requestedSchema": {"type": "object"}}}


@pytest.fixture
def rotating(cast: Cast) -> Iterator[None]:
    """A new key was put in front of the old one. Nobody has it afterwards, so the jobs go with it."""
    with override_settings(SEAL_KEYS=[NEW, *settings.SEAL_KEYS]):
        yield
    with cast.see(cast.acme):
        Job.objects.all().delete()


def only_the_new_key() -> override_settings:
    return override_settings(SEAL_KEYS=[NEW])


def job_of(cast: Cast, state: State = State.RUNNING, **fields: Any) -> Job:
    """Sealed with the old key, all of it."""
    with override_settings(SEAL_KEYS=settings.SEAL_KEYS[-1:]):
        with cast.see(cast.acme):
            tool = Tool.objects.select_related("tenant", "live").filter(tenant=cast.acme).first()
        given = {"inputs": asked_inputs(ASKED), "answers": sealed.seal_arguments({"a": 1})}
        return made(cast, cast.uma, tool or slow_tool(cast), state, result=Result.of_text("R"), **(given | fields))


def read(cast: Cast, job: Job) -> Job:
    with cast.see(cast.acme):
        return Job.objects.get(pk=job.pk)


def opened(job: Job) -> tuple[Any, ...]:
    return (
        sealed.unseal_arguments(job.arguments or b""),
        open_questions(job.inputs),
        sealed.unseal_arguments(job.answers or b""),
        sealed.unseal_result(job.result or b""),
    )


def stored(cast: Cast) -> tuple[Job, str]:
    """A job whose result lies in storage."""
    job = job_of(cast, State.SUCCEEDED)
    key = storage.new_key(job.pk, timezone.now() - datetime.timedelta(days=3))
    with override_settings(SEAL_KEYS=settings.SEAL_KEYS[-1:]):
        async_to_sync(storage.put)(key, sealed.seal_result(Result.of_text("a whole")))
    with cast.see(cast.acme):
        Job.objects.filter(pk=job.pk).update(result_key=key)
    return job, key


def test_all_that_is_kept_of_a_job_opens_with_the_new_key_alone(cast: Cast, rotating: None) -> None:
    job, empty = job_of(cast), job_of(cast, State.QUEUED, inputs=None, answers=None)
    with cast.see(cast.acme), override_settings(SEAL_KEYS=settings.SEAL_KEYS[-1:]):
        heard = Callback.objects.create(tenant=cast.acme, job=job, start=1, body=seal.seal("called"))
    before = opened(job)
    done = reseal.reseal(cast.acme.pk)
    assert (done.sealed, done.lost) == (3, [])
    with only_the_new_key():
        assert opened(read(cast, job)) == before
        assert sealed.unseal_arguments(read(cast, empty).arguments or b"") == {"text": "hello"}
        with cast.see(cast.acme):
            assert seal.unseal(Callback.objects.get(pk=heard.pk).body) == "called"
    assert (read(cast, empty).inputs, read(cast, empty).answers) == (None, None)
    assert reseal.reseal(cast.acme.pk).sealed == 0, "what is under the new key is left alone"


def test_nothing_but_what_is_sealed_changes(cast: Cast, rotating: None) -> None:
    job = job_of(cast)
    kept = {"arguments", "inputs", "answers", "result", "_state"}
    before = {name: value for name, value in vars(read(cast, job)).items() if name not in kept}
    reseal.reseal(cast.acme.pk)
    assert {name: value for name, value in vars(read(cast, job)).items() if name not in kept} == before


def test_what_a_worker_writes_meanwhile_is_not_overwritten(
    cast: Cast, rotating: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(cast)
    anew, written = seal.reseal, sealed.seal_arguments({"a": 2})

    def and_then_a_worker_writes(old: bytes | memoryview) -> bytes:
        with as_owner() as conn:
            conn.execute("UPDATE jobs_job SET answers = %s, inputs = NULL WHERE id = %s", [written, job.pk])
        return anew(old)

    monkeypatch.setattr(seal, "reseal", and_then_a_worker_writes)
    assert reseal.reseal(cast.acme.pk).sealed == 1
    found = read(cast, job)
    assert found.inputs is None
    with only_the_new_key():
        assert sealed.unseal_arguments(found.answers or b"") == {"a": 2}
        assert sealed.unseal_arguments(found.arguments or b"") == {"text": "hello"}


def test_it_waits_for_nobody_who_holds_a_row(cast: Cast, rotating: None) -> None:
    held, other = job_of(cast), job_of(cast)
    with as_owner(autocommit=False) as conn:
        conn.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [held.pk])
        with pytest.raises(reseal.Busy):
            reseal.reseal(cast.acme.pk)
    with only_the_new_key():
        assert opened(read(cast, other))
    assert reseal.reseal(cast.acme.pk).sealed == 1


def test_what_no_key_opens_is_named_and_left_and_the_rest_goes_on(cast: Cast, rotating: None) -> None:
    lost, other = job_of(cast, answers=b"nonsense"), job_of(cast)
    done = reseal.reseal(cast.acme.pk)
    assert (done.sealed, done.lost) == (1, [f"no key opens what is kept of job {lost.pk}"])
    assert opened(read(cast, other))
    assert sealed.unseal_arguments(read(cast, lost).arguments or b"") == {"text": "hello"}


def test_a_stored_result_is_put_under_another_key_and_the_old_one_is_gone(cast: Cast, rotating: None) -> None:
    job, old = stored(cast)
    assert reseal.reseal(cast.acme.pk).sealed == 2
    new = read(cast, job).result_key
    assert new != old
    with only_the_new_key():
        assert sealed.unseal_result(storage.read(new)) == Result.of_text("a whole")
    with pytest.raises(storage.Missing):
        storage.read(old)


@pytest.mark.parametrize("dies_in", ["put", "delete"])
def test_a_death_in_between_loses_no_stored_result(
    cast: Cast, rotating: None, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    job, _ = stored(cast)
    put = storage.put

    async def put_and_die(key: str, data: bytes) -> None:
        await put(key, data)
        raise KeyboardInterrupt

    def die(key: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(storage, dies_in, put_and_die if dies_in == "put" else die)
        with pytest.raises(KeyboardInterrupt):
            reseal.reseal(cast.acme.pk)
    assert sealed.unseal_result(storage.read(read(cast, job).result_key)) == Result.of_text("a whole")
    reseal.reseal(cast.acme.pk)
    with only_the_new_key():
        assert sealed.unseal_result(storage.read(read(cast, job).result_key)) == Result.of_text("a whole")


def test_a_result_that_is_forgotten_meanwhile_stays_forgotten(
    cast: Cast, rotating: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, old = stored(cast)
    put, written = storage.put, []

    async def forgotten_meanwhile(key: str, data: bytes) -> None:
        written.append(key)
        await put(key, data)
        with as_owner() as conn:
            conn.execute("UPDATE jobs_job SET result_key = '' WHERE id = %s", [job.pk])

    monkeypatch.setattr(storage, "put", forgotten_meanwhile)
    reseal.reseal(cast.acme.pk)
    assert read(cast, job).result_key == ""
    with pytest.raises(storage.Missing):
        storage.read(written[0])
    assert storage.read(old), "whoever forgets it deletes it"


def test_a_stored_result_that_is_not_there_is_named_and_holds_nothing_up(
    cast: Cast, rotating: None, caplog: pytest.LogCaptureFixture
) -> None:
    job, old = stored(cast)
    storage.delete(old)
    assert reseal.reseal(cast.acme.pk).lost == []
    assert f"the stored result of job {job.pk} is not there" in caplog.text
