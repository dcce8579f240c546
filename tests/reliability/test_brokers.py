"""Which brokers the hub takes, and that it says so before anything is accepted that nobody would be called for."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from mcphub import env


@pytest.mark.parametrize(
    "url", ["", "redis://10.0.0.5:6379/0", "rediss://u:p@cache/1", "amqp://u:p@mq//", "amqps://mq//"]
)
def test_the_brokers_that_were_tried_are_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    assert env.broker("CELERY_BROKER_URL") == url


@pytest.mark.parametrize("url", ["sqs://key:hush@", "hush.example.com:6379", "memory://hush"])
def test_any_other_broker_keeps_the_hub_from_starting(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    with pytest.raises(ImproperlyConfigured, match=re.escape("redis://, rediss://, amqp:// or amqps://")) as raised:
        env.broker("CELERY_BROKER_URL")
    assert "hush" not in str(raised.value)


def test_a_broker_whose_client_is_missing_keeps_the_hub_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "find_spec", lambda name: None)
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://mq//")
    assert env.broker("CELERY_BROKER_URL")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://10.0.0.5")
    with pytest.raises(ImproperlyConfigured, match=re.escape("requirements-redis.txt")):
        env.broker("CELERY_BROKER_URL")
