"""The default broker, on the tests' own Postgres."""

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.message import Message
from pgmq.install import get_embedded_sql_version

from mcphub.celery import app
from tests.postgres import as_app, as_owner, rows


@pytest.fixture
def queue() -> Iterator[Queue]:
    """One that no worker listens to, made by the owner as migrations make them."""
    name = f"t_{secrets.token_hex(6)}"
    with as_owner() as owner:
        owner.execute("SELECT pgmq.create_non_partitioned(%s)", [name])
        owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON pgmq.q_{name}, pgmq.a_{name} TO mcphub_app".encode())
        owner.execute("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pgmq TO mcphub_app")
        yield Queue(name, Exchange(name, "direct"), routing_key=name)
        owner.execute("SELECT pgmq.drop_queue(%s)", [name])


@pytest.fixture
def connection() -> Iterator[Connection]:
    with app.connection_for_write() as connection:
        yield connection


def take(connection: Connection) -> None:
    """One message, or nothing within a moment."""
    try:
        connection.drain_events(timeout=1)
    except TimeoutError:
        return


def test_a_worker_whose_acknowledgement_failed_hears_of_messages_again(
    connection: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of Postgres under a job: the acknowledgement is what finds the connection broken."""
    heard: list[Message] = []

    def cut_off(*_: Any) -> None:
        raise psycopg.OperationalError("terminating connection")

    channel = connection.channel()
    with connection.Consumer(
        [queue], callbacks=[lambda _, message: heard.append(message)], channel=channel
    ) as consumer:
        consumer.qos(prefetch_count=1)
        producer = connection.Producer()
        producer.publish({}, exchange=queue.exchange, routing_key=queue.name)
        take(connection)
        with monkeypatch.context() as broken:
            broken.setattr(channel.pgmq, "delete", cut_off)
            heard[0].ack_log_error(pytest, (psycopg.Error,))
        producer.publish({}, exchange=queue.exchange, routing_key=queue.name)
        take(connection)
        heard[1].ack()
    assert len(heard) == 2


def test_the_application_role_makes_no_queues() -> None:
    with as_app() as hub, pytest.raises(psycopg.errors.RaiseException, match="queues are made by migrations"):
        rows(hub, "SELECT pgmq.create('another')")


def test_the_brokers_sql_is_the_one_that_was_tried() -> None:
    """It comes from the package; a new one has to be looked at, and needs a migration."""
    assert get_embedded_sql_version() == "1.13.0"
