"""Every attack is tried: what the attacker gets, and the reason that stands in the ledger afterwards.

The attacks themselves are tables, by whom they are made or on whom.
"""

from collections.abc import Iterator

import pytest

from tests.access.attacks import by_programs, on_people
from tests.access.attacks.scene import Attack, Scene, set_up
from tests.cast import Cast
from tests.documents import Documents


@pytest.fixture
def scene(hub: list[str], cast: Cast, documents: Documents) -> Iterator[Scene]:
    with set_up(hub[0], cast, documents) as scene:
        yield scene


@pytest.mark.parametrize("attack", [*by_programs.ATTACKS, *on_people.ATTACKS])
def test_an_attack_is_refused_with_the_right_error_and_an_entry(attack: Attack, scene: Scene) -> None:
    attack.fails(scene)
