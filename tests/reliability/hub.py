"""The hub under test: every part of it as a process, a Postgres of its own, and what a run leaves in it."""

import base64
import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from tests.reliability import sabotage
from tests.reliability.parts import (
    Database,
    Flush,
    OneOf,
    Part,
    Program,
    Redis,
    beat,
    manage,
    redis_server,
    serves,
    web,
    workers,
)
from tests.reliability.verdict import Entry, Row
from tests.servers import free_port
from tests.waiting import until

_START_SECONDS = 180.0
ALIVE = "SELECT count(*) FROM jobs_worker WHERE seen_at > clock_timestamp() - interval '15 s'"

# What a process left open whose end nobody has noticed yet: everybody has stopped, so this may judge at once.
_INTERRUPTED = """
WITH judge AS (
    INSERT INTO audit_instance (id, host, pid, steady_at)
    VALUES (gen_random_uuid(), 'judge', 0, clock_timestamp() - interval '1 hour') RETURNING id
), silent AS (
    UPDATE audit_instance SET seen_at = seen_at - interval '1 hour'
)
SELECT id FROM judge
"""
_ROWS = """
SELECT id::text, (preview ->> 'number')::int, state, reason, attempts, most_attempts,
    holder IS NULL AND lease_until IS NULL, coalesce(lease_until < clock_timestamp() - interval '30 s', false)
FROM jobs_job
"""
_TOOK_PART = """
SELECT count(DISTINCT e.instance_id) FROM audit_entry e JOIN jobs_job j ON e.subject = 'job ' || j.id
WHERE e.event = 'call.started' AND (j.preview ->> 'number')::int = ANY (%s)
"""
_LEDGER = """
SELECT substr(s.subject, 5), e.event, e.call_id::text, e.outcome FROM audit_entry e
JOIN (SELECT DISTINCT call_id, subject FROM audit_entry WHERE subject LIKE 'job %') s USING (call_id) ORDER BY e.id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run does.

    seconds: how long calls come in and things are killed. settle: how long the last job may take after that. pause:
    seconds between two kills, from and to. longest: how long a tool takes at the most. drain: see that the broker's
    queue is empty in the end, which takes a minute, as a message whose acknowledgement was lost comes back after that.
    broker: the URL of one that runs already, and is neither killed nor looked into.
    """

    jobs: int
    seed: int
    seconds: float
    settle: float = 120.0
    processes: int = 3
    lease: int = 4
    pause: tuple[float, float] = (0.7, 2.0)
    longest: float = 0.6
    redis: bool = False
    broker: str = ""
    drain: bool = False
    sabotage: str = ""


@dataclass
class Hub:
    """victims: what may be killed, as often as it is named. hands: the thread that starts what is brought back; it
    outlives the event loops, as a process started by it ends with it."""

    folder: Path
    plan: Plan
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    servers: list[str] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    victims: list[Part] = field(default_factory=list)
    tenants: list[dict[str, str]] = field(default_factory=list)
    hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    environment: dict[str, str] = field(default_factory=dict)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.folder / "postgres")

    @contextmanager
    def furnished(self) -> Iterator[None]:
        """Postgres up, migrated, with tenants, tools and keys."""
        with ExitStack() as stack:
            stack.callback(self.hands.shutdown)
            stack.callback(self.database.postgres.remove)
            self.database.start()
            self.environment = self._environment()
            manage(self.environment, "manage.py", "migrate", "--verbosity=0")
            self.tenants = json.loads(manage(self.environment, "-m", "tests.reliability.furnish"))
            if self.plan.sabotage:
                sabotage.commit(self.plan.sabotage, self.database.postgres.owner_url)
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Everything else up and ready, and asked to stop in the end."""
        with ExitStack() as stack:
            if self.plan.redis:
                self._start_redis(stack)
            self._start_programs(stack)
            until(self._ready, _START_SECONDS)
            yield

    def mend(self) -> None:
        for program in self.programs:
            program.mend()

    def _ready(self) -> bool:
        return all(map(serves, self.servers)) and self.count(ALIVE) >= self.plan.processes

    def _start_redis(self, stack: ExitStack) -> None:
        program = redis_server()
        assert program is not None
        port = free_port()
        redis = Redis(program, self.folder, port)
        self._keep(stack, redis)
        self.environment["CELERY_BROKER_URL"] = redis.url
        self.victims += [redis, *[Flush(port)] * 3]

    def _start_programs(self, stack: ExitStack) -> None:
        environment = {name: value for name, value in self.environment.items() if name != "DATABASE_OWNER_URL"}
        for number in (1, 2):
            port = free_port()
            here = {"BASE_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
            self._keep(stack, web(f"web-{number}", port, environment | here, self.folder))
            self.servers.append(here["BASE_URL"])
        crew = workers(self.plan.processes, environment, self.folder)
        for program in (beat(environment, self.folder), crew):
            self._keep(stack, program)
        self.victims += [*self.programs, self.database, *[OneOf(crew, Random(self.plan.seed))] * 3]

    def _keep(self, stack: ExitStack, program: Program) -> None:
        program.start()
        stack.callback(program.stop)
        self.programs.append(program)

    def _environment(self) -> dict[str, str]:
        postgres = self.database.postgres
        settings = {
            "DJANGO_SETTINGS_MODULE": "mcphub.settings",
            "DATABASE_URL": postgres.app_url,
            "DATABASE_OWNER_URL": postgres.owner_url,
            "DATA_DIR": str(self.folder / "data"),
            "SECRET_KEY": secrets.token_urlsafe(48),
            "SEAL_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "TOOL_FUNCTIONS": "tests.reliability.functions",
            "LOG_LEVEL": "WARNING",
            "JOBS_LEASE": str(self.plan.lease),
            "JOBS_DRAIN": "2",
            "CELERY_BROKER_URL": self.plan.broker,
            "CHAOS_MARKS": str(self.folder / "marks"),
            "CHAOS_RUN": self.name,
        }
        return {**os.environ, **settings}

    def _ask(self, query: str, *parameters: Any) -> list[Any]:
        """What the owner of the tables is answered; nothing while Postgres is away."""
        with suppress(psycopg.OperationalError):
            url = self.database.postgres.owner_url
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as conn:
                return conn.execute(query.encode(), parameters or None).fetchall()
        return []

    def count(self, query: str) -> int:
        """The one number that `query` asks for; -1 while Postgres is away."""
        found = self._ask(query)
        return int(found[0][0]) if found else -1

    def open_jobs(self) -> int:
        return self.count("SELECT count(*) FROM jobs_job WHERE ended_at IS NULL")

    def took_part(self, numbers: list[int]) -> int:
        """How many processes began the jobs of these wishes."""
        found = self._ask(_TOOK_PART, numbers)
        return int(found[0][0]) if found else 0

    def bells(self) -> int:
        return self.count("SELECT count(*) FROM pgmq.q_jobs")

    def rows(self) -> list[Row]:
        names = ("id", "number", "state", "reason", "attempts", "most_attempts", "free", "dead")
        return [Row(**dict(zip(names, found, strict=True))) for found in self._ask(_ROWS)]

    def ledger(self) -> list[Entry]:
        """Of jobs and their attempts, once everybody has stopped."""
        ((judge,),) = self._ask(_INTERRUPTED)
        self._ask("SELECT audit_sweep(%s)", judge)
        return [Entry(job=job, event=event, call=call, outcome=said) for job, event, call, said in self._ask(_LEDGER)]

    def marks(self) -> list[int]:
        file = self.folder / "marks"
        return [int(line) for line in file.read_text().split()] if file.exists() else []
