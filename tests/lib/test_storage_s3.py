"""Large results in a bucket: what `RESULTS_STORAGE=s3://...` promises, against a server of its own that speaks S3."""

import datetime
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx2
import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from jobs import results
from lib import storage
from mcphub import env
from tests.cast import Cast
from tests.jobs.desk import Desk, desk
from tests.jobs.front import Front, end, front
from tests.jobs.place import Placed
from tests.servers import free_port, serve
from tests.waiting import until
from tools.values import Result

BUCKET = "reports"
LARGE = Result.of_text("A line of a long report.\n" * 20_000)
LONG_AGO = datetime.datetime(2020, 2, 3, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """The bucket as boto3 has it; the environment says what production's would."""
    url = f"http://localhost:{free_port()}"
    with pytest.MonkeyPatch.context() as patch, _moto(url):
        patch.setenv("AWS_ENDPOINT_URL_S3", url)
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "tests-only")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests-only")
        patch.setenv("RESULTS_STORAGE", f"s3://{BUCKET}/hub")
        made = boto3.resource("s3").Bucket(BUCKET)
        made.create(CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        in_it = {"results": env.storage("RESULTS_STORAGE", settings.DATA_DIR)}
        with override_settings(STORAGES=settings.STORAGES | in_it):
            yield made


class _moto:
    """moto's server as a process of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        port = self._url.rpartition(":")[2]
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", port]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=os.environ, stdin=quiet, stdout=quiet, stderr=quiet)
        until(self._answers, within=60)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "moto did not start"
        try:
            with urllib.request.urlopen(f"{self._url}/moto-api/", timeout=5):  # noqa: S310 - http on loopback
                return True
        except OSError:
            return False


def keys(bucket: Any) -> set[str]:
    return {found.key for found in bucket.objects.all()}


async def test_what_is_put_lies_below_the_prefix_and_comes_back_until_it_is_deleted(bucket: Any) -> None:
    key = storage.new_key(uuid.uuid4(), timezone.now())
    await storage.put(key, b"sealed")
    assert f"hub/{key}" in keys(bucket)
    assert await storage.get(key) == b"sealed"
    storage.delete(key)
    storage.delete(key)
    assert f"hub/{key}" not in keys(bucket)
    with pytest.raises(storage.Missing):
        await storage.get(key)


async def test_only_days_that_are_over_are_cleared(bucket: Any) -> None:
    old, new = (storage.new_key(uuid.uuid4(), day) for day in (LONG_AGO, timezone.now()))
    for key in (old, new):
        await storage.put(key, b"x")
    bucket.put_object(Key="hub/somebody-elses/file", Body=b"x")
    bucket.put_object(Key="2020-02-03/outside", Body=b"x")
    storage.clear(LONG_AGO.date() + datetime.timedelta(days=1))
    left = keys(bucket)
    assert f"hub/{old}" not in left
    assert {f"hub/{new}", "hub/somebody-elses/file", "2020-02-03/outside"} <= left


@pytest.fixture
def met(cast: Cast, bucket: Any) -> Iterator[Front]:
    with serve(count=1) as (url,):
        yield front(cast, url)


@pytest.fixture
def job(met: Front) -> Placed:
    return met.job(met.cast.uma)


@pytest.fixture
def uma(met: Front) -> Iterator[httpx2.Client]:
    with met.client(met.cast.uma) as client:
        yield client


@pytest.fixture
def caller(cast: Cast) -> Desk:
    return desk(cast, cast.uma)


async def test_a_large_result_is_downloaded_from_the_bucket_by_its_link(
    running: None, bucket: Any, caller: Desk, job: Placed, uma: httpx2.Client
) -> None:
    live = (await caller.catalog()).tools["echo"]
    end(job, result=(kept := await results.keep(job.id, live, LARGE)))
    link = uma.get(f"jobs/{job.id}/result/").json()["download_url"]
    assert httpx2.get(link).text == LARGE.content[0].text  # type: ignore[union-attr]
    assert b"A line of" not in bucket.Object(f"hub/{kept.key}").get()["Body"].read()
    storage.delete(kept.key)
    assert httpx2.get(link).status_code == 404
