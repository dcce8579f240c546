"""What is shown of a call's arguments to whose call it is, and to somebody else."""

from typing import Any

import pytest

from tests.admin.conftest import SignIn, sign_in
from tests.cast import Cast
from tests.host import Host
from tests.jobs.review import Review, held_of, publish
from tests.person import words

__all__ = ["sign_in"]  # a fixture

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "page_token": {"type": "string"},
        "password": {"type": "string", "writeOnly": True},
        "old": {"type": "object", "properties": {"password": {"type": ["string", "null"], "format": "password"}}},
    },
}
GIVEN = {"page_token": "the third", "password": "correct horse", "old": {"password": None}, "my_secret": "of a model"}


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Any) -> Review:
    tool = cast.tool(
        cast.acme, "sign_in", input_schema=SCHEMA, config={"function": "echo"}, read_only=False, destructive=True
    )
    return Review(cast=cast, base=hub[0], tool=tool, key=cast.key(cast.uma)[1], path=tmp_path)


def test_whose_call_it_is_sees_all_but_what_the_schema_marks_as_secret(scene: Review, sign_in: SignIn) -> None:
    answer = scene.host().call("sign_in", GIVEN)
    page = answer.result["_meta"]["mcphub/refusal"]["askAt"].removeprefix(scene.base)
    said = words(sign_in(scene.cast.uma).get(page).content.decode())
    assert "page_token the third" in said
    assert "password (hidden)" in said
    assert 'old { "password": null }' in said, "that there is none is no secret"
    assert "my_secret of a model" in said


def test_somebody_else_does_not_see_what_the_schema_describes_under_the_name_of_a_secret_either(
    scene: Review, sign_in: SignIn
) -> None:
    publish(scene.cast, spec={"what": {"tools": ["sign_in"]}})
    job = held_of(Host(scene.base, scene.cast.acme.slug, scene.key).call("sign_in", GIVEN))
    card = sign_in(scene.cast.anna).get(f"/approvals/{scene.approval(job).pk}/").context["card"]
    assert card.brief.arguments == {
        "page_token": "(hidden)",
        "password": "(hidden)",
        "old": {"password": None},
        "my_secret": "of a model",
    }
