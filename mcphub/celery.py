"""Celery as the hub uses it: bells that are rung for jobs and chores. What is to be done stands in Postgres.

The options were chosen by measuring (docs/decisions/0017): each says what goes wrong without it.
"""

from typing import Any
from urllib.parse import quote

from celery import Celery
from django.conf import settings
from kombu.entity import Exchange, Queue
from psycopg.conninfo import conninfo_to_dict

from lib import db
from mcphub import broker

JOBS, CHORES = "jobs", "jobs_chores"
"""The queues: bells for workers, and the small regular work that must not wait behind them."""


def broker_url() -> str:
    """CELERY_BROKER_URL, or pgmq in the hub's own database."""
    if settings.CELERY_BROKER_URL:
        return str(settings.CELERY_BROKER_URL)
    found = conninfo_to_dict(db.conninfo())
    login = quote(str(found.get("user") or ""), safe="")
    if found.get("password"):
        login += ":" + quote(str(found["password"]), safe="")
    host = quote(str(found.get("host") or "localhost"), safe="")
    return f"pgmq://{login}@{host}:{found.get('port') or 5432}/{quote(str(found.get('dbname') or ''), safe='')}"


def _transport_options() -> dict[str, Any]:
    if settings.CELERY_BROKER_URL.startswith("amqp"):
        return {}
    if settings.CELERY_BROKER_URL:
        return {
            "visibility_timeout": 60,
            "socket_connect_timeout": 5,
            "socket_timeout": 10,  # or ringing waits for ever where nothing answers any more
            "socket_keepalive": True,
        }
    return {
        "conn_string": db.conninfo(application_name="mcphub bell"),
        "init_extension": False,  # would need a superuser; a migration installs pgmq's SQL
        "use_notify": True,
        "wait_time_seconds": 0,  # or each wait holds a transaction open on the server
        "polling_interval": 0.05,  # or bursts are taken one message per interval
        "visibility_timeout": 60,
        "pool_size": 2,
        "pool_timeout": 5,  # or ringing waits half a minute while Postgres is away
    }


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name, "direct"), routing_key=name)


broker.use()
app = Celery("mcphub", broker=broker_url(), set_as_current=True, include=["jobs.tasks"])
app.conf.update(
    broker_transport_options=_transport_options(),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=2,
    broker_heartbeat=0,  # or RabbitMQ cuts off who runs a job of four minutes: nobody hears the broker meanwhile
    task_queues=[_queue(JOBS), _queue(CHORES)],
    task_default_queue=CHORES,
    task_default_exchange=CHORES,
    task_default_routing_key=CHORES,
    task_create_missing_queues=False,
    task_acks_late=True,  # or a bell waits behind a busy worker while another is idle
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    beat_scheduler="celery.beat:Scheduler",  # every schedule is "each so many seconds": no file to be torn
    beat_schedule={
        "sweep": {"task": "jobs.sweep", "schedule": 5.0, "options": {"expires": 5}},
        "deliver": {"task": "jobs.deliver", "schedule": 10.0, "options": {"expires": 10}},
        "forget": {"task": "jobs.forget", "schedule": 60.0, "options": {"expires": 60}},
    },
)
