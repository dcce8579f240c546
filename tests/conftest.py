"""The stage: a real Postgres, the hub as two real server processes, and one cast of people and tenants.

Nothing is cleaned up between tests: every test gets tenants of its own, and no tenant sees another.
"""

import asyncio
import contextlib
import gc
import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass

import hypothesis
import pytest

from tests import database
from tests.documents import Documents, serve_documents
from tests.waiting import until

_stack = contextlib.ExitStack()
_documents = _stack.enter_context(serve_documents())


def _set_the_stage() -> None:
    """Bring up the database and Django. Done when this file is imported, which is before any test imports a model."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["TOOL_FUNCTIONS"] = (
        "tests.functions,tests.jobs.functions,tests.conformance.fixtures,examples.helpdesk.functions"
    )
    os.environ["SECRET_KEY"] = "tests-only-" + "x" * 40
    os.environ["SEAL_KEYS"] = "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="
    os.environ["SIGN_INS_PER_MINUTE"] = "100000"  # all of them come from one address
    os.environ["CLIENT_DOCUMENTS_PER_ADDRESS"] = os.environ["CLIENT_REGISTRATIONS_PER_ADDRESS"] = "100000"
    os.environ["CLIENT_REGISTRATIONS"] = "100000"
    os.environ["LOG_LEVEL"] = "WARNING"
    os.environ.update(_documents.environment)  # before anything makes a TLS context of what it trusts
    _stack.enter_context(database.fresh())
    import django
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()


_set_the_stage()

# How long an example takes says more of what else the machine does.
hypothesis.settings.register_profile(
    "untimed", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for servers and browsers half of their time, so two cores do with four processes."""
    return max(4, len(os.sched_getaffinity(0)))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Looking for garbage takes a third of the time of collecting and finds none: what is made stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    _stack.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the attack corpus came to, when it ran. Here, since the process that prints collects no tests."""
    from tests.corpus import printing, written

    found = printing.gathered(one for reports in terminalreporter.stats.values() for one in reports)
    if found:
        terminalreporter.section("attack corpus: caught and false alarms")
        for line in printing.lines(found, written.figures()):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _connections_come_back() -> Iterator[None]:
    """A thread of a test that keeps its connection takes it from every test that follows."""
    before = database.held_by_others()
    yield
    until(lambda: database.held_by_others() <= before)


@pytest.fixture(scope="session")
def hub() -> Iterator[list[str]]:
    """The hub as it runs in production: two server processes on one database; their base URLs."""
    from tests.servers import serve

    with serve(count=2) as urls:
        yield urls


@pytest.fixture(scope="session")
def worker() -> Iterator[int]:
    """Two processes that run jobs, of short leases and little patience; the pid of their parent."""
    from tests.servers import workers

    with workers(2, JOBS_LEASE="6", JOBS_DRAIN="1", JOBS_GRACE="1", JOBS_KEPT_SLOTS="0") as parent:
        yield parent.pid


@pytest.fixture(scope="session")
def documents() -> Documents:
    """An https server on loopback for documents of clients, which every hub of the tests may fetch from."""
    return _documents


@pytest.fixture
def cast() -> Iterator[object]:
    """Fresh tenants and people; see tests.cast."""
    from tests.cast import Cast

    with Cast.on_stage() as people:
        yield people


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[None]:
    """The hub's lifespan on the tests' own event loop, for tests that enter at `calls.run`."""
    from mcphub.lifespan import lifespan

    async with lifespan():
        yield


@pytest.fixture
async def listening(running: None) -> None:
    """News are heard on the tests' own event loop.

    A test before may have ended the listener's session, which is only noticed while the loop runs, as it does now.
    """
    from lib import events

    job = uuid.uuid4()
    async with asyncio.timeout(30), events.watch(0, job) as own:
        while (told := await own.get(0.05)) is None or told.kind == "resync":
            await events.publish(events.Event(tenant_id=0, job_id=job, kind="progress"))


@dataclass(frozen=True)
class Endpoint:
    """A tenant's endpoint and a key that opens it."""

    url: str
    api_key: str


@pytest.fixture(scope="session")
def conformance_endpoint(hub: list[str]) -> Endpoint:
    """A tenant with the fixture tools of the conformance suite."""
    from tests.cast import Cast
    from tests.conformance.fixtures import FIXTURES

    cast = Cast()
    for fixture in FIXTURES:
        cast.tool(
            cast.acme,
            fixture.name,
            description=fixture.description,
            config={"function": fixture.function},
            input_schema=fixture.input_schema,
            output_schema=fixture.output_schema,
            **fixture.lasting,
        )
    return Endpoint(url=f"{hub[0]}/t/{cast.acme.slug}/mcp", api_key=cast.key(cast.uma)[1])


@pytest.fixture(scope="session")
def live_hub(hub: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The demo tools on a running help desk, and one slow tool."""
    from mcphub import demo
    from tests.cast import Cast
    from tests.servers import helpdesk

    with helpdesk(tmp_path_factory.mktemp("helpdesk") / "tickets.json") as (url, token):
        cast = Cast()
        with cast.see(cast.acme):
            demo.furnish(cast.acme, cast.olga, helpdesk_url=url, helpdesk_token=token)
        cast.tool(cast.acme, "count_slowly")
        yield Endpoint(url=f"{hub[0]}/t/{cast.acme.slug}/mcp", api_key=cast.key(cast.olga)[1])
