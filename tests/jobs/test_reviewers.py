"""Who may decide on a held call: nobody who could have made it, and nobody who became a reviewer when it waited."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from access.actions.clients import (
    change_client,
    create_client,
    create_machine,
    disable_client,
    enable_client,
    rotate_secret,
)
from access.models import AuthMethod, Client, OutsideIssuer
from tenants import actions
from tenants.models import Group, Member, Role, User
from tests import tokens
from tests.access.grants import basic, post
from tests.cast import Cast
from tests.host import Host
from tests.jobs.front import change
from tests.jobs.place import Placed
from tests.jobs.review import Review, held_of, review

pytestmark = pytest.mark.usefixtures("worker")

OF_GROUP = {"roles": ["owner"], "groups": ["refunds"]}


@pytest.fixture
def scene(cast: Cast, hub: list[str], tmp_path: Path) -> Review:
    return review(cast, hub[0], tmp_path)


def machine(scene: Review, actor: User) -> tuple[Client, str]:
    scene.cast.scopes(scene.cast.acme, {"marks": "Leave marks"})
    member = scene.cast.member(scene.cast.acme, scene.cast.uma)
    with scene.cast.see(scene.cast.acme):
        made, secret = create_machine(
            member, name="Robot", scopes=["marks"], auth_method=AuthMethod.BASIC, actor=actor.username
        )
    return made, str(secret)


def call_by(scene: Review, made: Client, secret: str) -> Placed:
    form = {"grant_type": "client_credentials"}
    token = post("/token", form, authorization=basic(made.client_id, secret)).json()["access_token"]
    return held_of(Host(scene.base, scene.cast.acme.slug, token).call(scene.tool.name, scene.arguments()))


def renamed(made: Client, actor: str) -> None:
    made.name = "Droid"
    change_client(made, actor=actor)


def rotated(made: Client, actor: str) -> None:
    rotate_secret(made, actor=actor)


def test_who_made_the_machine_that_a_call_came_with_does_not_approve_it(scene: Review) -> None:
    job = call_by(scene, *machine(scene, scene.cast.adam))
    assert scene.decide(job, "approve", scene.cast.adam) == "own_call"
    assert scene.decide(job, "approve", scene.cast.anna) == "done"


@pytest.mark.parametrize("does", [renamed, rotated])
@pytest.mark.parametrize("when", ["before", "after"])
def test_nor_does_who_gave_it_a_new_secret_or_changed_it(
    scene: Review, does: Callable[[Client, str], Any], when: str
) -> None:
    made, secret = machine(scene, scene.cast.olga)
    if when == "after":
        job = call_by(scene, made, secret)
    with scene.cast.see(scene.cast.acme):
        does(made, scene.cast.adam.username)
        secret = rotate_secret(made, actor=scene.cast.olga.username)  # the last one to have done so is somebody else
    if when == "before":
        job = call_by(scene, made, secret)
    assert scene.decide(job, "approve", scene.cast.adam) == "own_call"
    assert scene.decide(job, "approve", scene.cast.anna) == "done"


def call_by_app(scene: Review, app: Client) -> Placed:
    """Uma's, by an app that she let in."""
    given = tokens.consent(scene.cast, scene.cast.uma, by=app)
    with scene.cast.see(scene.cast.acme):
        secret = tokens.token(given)
    return held_of(Host(scene.base, scene.cast.acme.slug, secret).call(scene.tool.name, scene.arguments()))


def app_of(scene: Review, actor: User) -> Client:
    with scene.cast.see(scene.cast.acme):
        return create_client(
            scene.cast.acme, name="Desk", redirect_uris=["http://127.0.0.1/callback"], actor=actor.username
        )


def test_who_made_the_app_that_a_call_came_by_does_not_approve_it(scene: Review) -> None:
    job = call_by_app(scene, app_of(scene, scene.cast.adam))
    assert scene.decide(job, "approve", scene.cast.adam) == "own_call"
    assert scene.decide(job, "approve", scene.cast.anna) == "done"


@pytest.mark.parametrize("when", ["before", "after"])
def test_nor_does_who_changed_it(scene: Review, when: str) -> None:
    app = app_of(scene, scene.cast.olga)
    if when == "after":
        job = call_by_app(scene, app)
    with scene.cast.see(scene.cast.acme):
        renamed(app, scene.cast.adam.username)
    if when == "before":
        job = call_by_app(scene, app)
    assert scene.decide(job, "approve", scene.cast.adam) == "own_call"
    assert scene.decide(job, "approve", scene.cast.anna) == "done"


def test_who_only_switched_a_machine_off_and_on_may_decide(scene: Review) -> None:
    made, secret = machine(scene, scene.cast.olga)
    with scene.cast.see(scene.cast.acme):
        disable_client(made, actor=scene.cast.adam.username)
        enable_client(made, actor=scene.cast.adam.username)
    assert scene.decide(call_by(scene, made, secret), "approve", scene.cast.adam) == "done"


def test_who_says_which_issuer_to_trust_does_not_approve_what_came_by_it(scene: Review) -> None:
    job = scene.call()
    change(job, "credential = 'outside:' || member_id")
    with scene.cast.see(scene.cast.acme):
        made = OutsideIssuer(
            tenant=scene.cast.acme, issuer="https://id.example.com", jwks_uri="https://id.example.com/k"
        )
        actions.save(made, actor=scene.cast.olga.username)
        made.claim = "email"
        actions.save(made, actor=scene.cast.adam.username)
    for who in (scene.cast.olga, scene.cast.adam):
        assert scene.decide(job, "approve", who) == "own_call"
    assert scene.decide(job, "approve", scene.cast.anna) == "done"


def put_in(scene: Review, user: User) -> None:
    with scene.cast.see(scene.cast.acme):
        group, _ = Group.objects.get_or_create(tenant=scene.cast.acme, name="refunds")
        members = [*group.members.values_list("pk", flat=True), scene.cast.member(scene.cast.acme, user).pk]
        actions.save_group(group, members, actor=scene.cast.adam.username)


def make(scene: Review, user: User, **changed: Any) -> None:
    with scene.cast.see(scene.cast.acme):
        member = Member.objects.get(tenant=scene.cast.acme, user=user)
        vars(member).update(changed)
        actions.change_member(member, actor=scene.cast.adam.username)


def test_who_came_into_the_group_after_a_call_was_held_decides_on_the_next_one(
    cast: Cast, hub: list[str], tmp_path: Path
) -> None:
    scene = review(cast, hub[0], tmp_path, reviewed_by=OF_GROUP)
    put_in(scene, cast.audrey)
    first = scene.call("a")
    put_in(scene, cast.adam)
    second = scene.call("b")
    assert scene.decide(first, "approve", cast.adam) == "not_a_reviewer"
    assert scene.decide(second, "approve", cast.adam) == "done"
    assert scene.decide(first, "approve", cast.audrey) == "done"


def test_a_role_that_came_after_a_call_was_held_does_not_count_for_it(scene: Review) -> None:
    job = scene.call()
    make(scene, scene.cast.audrey, role=Role.ADMIN)
    assert scene.decide(job, "approve", scene.cast.audrey) == "not_a_reviewer"
    assert scene.decide(scene.call("next"), "approve", scene.cast.audrey) == "done"


def test_a_member_who_was_switched_off_when_it_was_held_or_left_and_came_back_does_not_decide(scene: Review) -> None:
    make(scene, scene.cast.adam, active=False)
    job = scene.call()
    make(scene, scene.cast.adam, active=True)
    with scene.cast.see(scene.cast.acme):
        actions.remove_member(Member.objects.get(tenant=scene.cast.acme, user=scene.cast.anna), actor="olga")
        actions.add_member(scene.cast.acme, scene.cast.anna, role=Role.APPROVER, actor="olga")
    for who in (scene.cast.adam, scene.cast.anna):
        assert scene.decide(job, "approve", who) == "not_a_reviewer"
    assert scene.decide(job, "approve", scene.cast.olga) == "done"


def test_who_left_the_group_decides_no_more(cast: Cast, hub: list[str], tmp_path: Path) -> None:
    scene = review(cast, hub[0], tmp_path, reviewed_by=OF_GROUP)
    put_in(scene, cast.audrey)
    job = scene.call()
    with cast.see(cast.acme):
        Group.objects.get(tenant=cast.acme, name="refunds").members.clear()
    assert scene.decide(job, "approve", cast.audrey) == "not_a_reviewer"
