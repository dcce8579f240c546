"""Cases of the attack corpus that go to a real hub: replay of what a person agreed to, rug pulls, deputies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cast import Cast
from tests.corpus import approvals, printing, tokens, upstream
from tests.corpus.door import ATTACKS, HARMLESS, Scene
from tests.corpus.test_corpus import Record
from tests.corpus.written import figures
from tests.gateway.confirming import FORMS, Noting, noting
from tests.host import Host
from tests.jobs.receiver import receiver
from tests.jobs.review import Review, review


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Scene:
    noting(cast)
    host = Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])
    return Scene(cast=cast, uma=Noting(host, tmp_path / "notes", FORMS), hub=hub)


def record(to: Record, **figures: int) -> None:
    to(printing.PROPERTY, {"class": "front_door", **dict.fromkeys(printing.COLUMNS, 0), **figures})


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_at_the_front_door_is_stopped(scene: Scene, name: str, record_property: Record) -> None:
    stopped = ATTACKS[name](scene)
    record(record_property, attacks=1, caught=int(stopped))
    assert stopped


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_gets_through(scene: Scene, name: str, record_property: Record) -> None:
    stopped = HARMLESS[name](scene)
    record(record_property, harmless=1, alarms=int(stopped))
    assert not stopped


@pytest.fixture
def held(cast: Cast, hub: list[str], worker: int, tmp_path: Path) -> Review:
    return review(cast, hub[0], tmp_path)


@pytest.mark.parametrize("name", approvals.ATTACKS)
def test_an_attack_on_an_approval_is_stopped(held: Review, name: str, record_property: Record) -> None:
    stopped = approvals.ATTACKS[name](held)
    record(record_property, attacks=1, caught=int(stopped))
    assert stopped


@pytest.mark.parametrize("name", approvals.HARMLESS)
def test_what_was_approved_runs(held: Review, name: str, record_property: Record) -> None:
    stopped = approvals.HARMLESS[name](held)
    record(record_property, harmless=1, alarms=int(stopped))
    assert not stopped


@pytest.fixture
def outside(cast: Cast, hub: list[str]) -> Iterator[upstream.Answering]:
    with receiver() as answers:
        yield upstream.answering(cast, hub[0], answers)


@pytest.mark.parametrize("name", upstream.ATTACKS)
def test_an_attack_in_an_answer_is_defused(outside: upstream.Answering, name: str, record_property: Record) -> None:
    stopped = upstream.ATTACKS[name](outside)
    record(record_property, attacks=1, caught=int(stopped))
    assert stopped


@pytest.mark.parametrize("name", upstream.HARMLESS)
def test_a_harmless_answer_arrives_as_it_is(outside: upstream.Answering, name: str, record_property: Record) -> None:
    touched = upstream.HARMLESS[name](outside)
    record(record_property, harmless=1, alarms=int(touched))
    assert not touched


@pytest.fixture
def let_in(cast: Cast, hub: list[str], tmp_path: Path) -> tokens.LetInScene:
    return tokens.let_in(cast, hub, tmp_path / "notes")


@pytest.mark.parametrize("name", tokens.ATTACKS)
def test_a_token_or_a_code_opens_nothing_else(let_in: tokens.LetInScene, name: str, record_property: Record) -> None:
    stopped = tokens.ATTACKS[name](let_in)
    record(record_property, attacks=1, caught=int(stopped))
    assert stopped


@pytest.mark.parametrize("name", tokens.HARMLESS)
def test_a_token_opens_what_it_is_for(let_in: tokens.LetInScene, name: str, record_property: Record) -> None:
    stopped = tokens.HARMLESS[name](let_in)
    record(record_property, harmless=1, alarms=int(stopped))
    assert not stopped


def test_all_of_them_are_in_the_figures() -> None:
    attacks = sum(map(len, (ATTACKS, approvals.ATTACKS, tokens.ATTACKS, upstream.ATTACKS)))
    harmless = sum(map(len, (HARMLESS, approvals.HARMLESS, tokens.HARMLESS, upstream.HARMLESS)))
    assert figures()["front_door"] == {"attacks": attacks, "caught": attacks, "harmless": harmless, "alarms": 0}
