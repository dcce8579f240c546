"""Refresh tokens: used once, given again to who lost the answer, and a replay ends the family."""

import datetime
import threading
from typing import Any

import pytest
from django.utils import timezone

from access.models import AccessToken, Admission, RefreshToken, digest_of
from access.oauth import presented, validator
from tenants.models import Admits, Tenant
from tests.access.grants import LetIn, post
from tests.access.races import at_once
from tests.postgres import as_app, rows
from tests.tokens import registered
from tests.waiting import until


def _age(program: LetIn, token: str, seconds: int) -> None:
    """Let so many seconds pass since this token was used."""
    with program.cast.see(program.tenant):
        row = RefreshToken.objects.get(token_checksum=digest_of(token))
        assert row.revoked is not None
        row.revoked -= datetime.timedelta(seconds=seconds)
        row.save(update_fields=["revoked"])


def test_a_refresh_token_brings_a_new_pair(program: LetIn) -> None:
    first = program.tokens()
    answer = program.refresh(first["refresh_token"], resource=program.resource)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert set(second["scope"].split()) == {"a.read", "a.write"}
    assert program.live() == (2, 1)  # the first access token may end what is in flight


def test_the_superseded_access_token_ends_with_the_grace(program: LetIn) -> None:
    first = program.tokens()
    program.refresh(first["refresh_token"])
    left = program.opened(first["access_token"]).expires - timezone.now()
    assert left <= datetime.timedelta(seconds=45)


def test_a_lost_answer_is_given_again_to_the_letter(program: LetIn) -> None:
    first = program.tokens()
    second = program.refresh(first["refresh_token"], scope="a.read").json()
    again = program.refresh(first["refresh_token"]).json()
    assert again["expires_in"] <= second.pop("expires_in")
    again.pop("expires_in")
    assert again == second
    assert program.live() == (2, 1)
    assert program.reasons() == []


def test_after_the_grace_a_used_token_ends_the_family(program: LetIn) -> None:
    first = program.tokens()
    second = program.refresh(first["refresh_token"]).json()
    _age(program, first["refresh_token"], 45)
    answer = program.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert program.live() == (0, 0)
    assert program.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
    assert program.reasons() == ["refresh_replayed", "token_revoked"]


def test_a_lost_answer_can_still_be_had_just_before_the_grace_ends(program: LetIn) -> None:
    first = program.tokens()
    program.refresh(first["refresh_token"])
    _age(program, first["refresh_token"], 40)
    assert program.refresh(first["refresh_token"]).status_code == 200


def test_a_used_token_ends_the_family_once_its_successor_was_used_too(program: LetIn) -> None:
    first = program.tokens()
    second = program.refresh(first["refresh_token"]).json()
    program.refresh(second["refresh_token"])
    assert program.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert program.live() == (0, 0)


def test_another_family_of_the_same_consent_survives_a_replay(program: LetIn) -> None:
    other = program.tokens()
    first = program.tokens()
    program.refresh(first["refresh_token"])
    _age(program, first["refresh_token"], 60)
    program.refresh(first["refresh_token"])
    assert program.refresh(other["refresh_token"]).status_code == 200


def test_another_client_cannot_refresh_nor_end_anything(program: LetIn) -> None:
    first = program.tokens()
    thief = registered()
    assert program.refresh(first["refresh_token"], client_id=thief.client_id).json()["error"] == "invalid_grant"
    assert program.refresh(first["refresh_token"]).status_code == 200


def test_a_narrower_refresh_narrows_only_its_access_token(program: LetIn) -> None:
    first = program.tokens()
    second = program.refresh(first["refresh_token"], scope="a.read").json()
    assert second["scope"] == "a.read"
    assert program.opened(second["access_token"]).scope == "a.read"
    third = program.refresh(second["refresh_token"]).json()
    assert set(third["scope"].split()) == {"a.read", "a.write"}


def test_a_narrower_refresh_brings_what_its_scopes_imply_as_far_as_it_was_granted(program: LetIn) -> None:
    first = program.tokens()
    program.cast.scopes(program.tenant, {"a.more": "More"})
    program.cast.change_scope(program.tenant, "a.write", implies=["a.read", "a.more"])
    narrower = program.refresh(first["refresh_token"], scope="a.write").json()
    assert set(narrower["scope"].split()) == {"a.read", "a.write"}


def test_a_client_that_is_on_no_list_any_more_gets_no_more_tokens_and_keeps_those_it_has(program: LetIn) -> None:
    first, code = program.tokens(), program.code()
    with program.cast.see(program.tenant):
        Tenant.objects.filter(pk=program.tenant.pk).update(admits=Admits.LIST)
    for answer in (program.refresh(first["refresh_token"]), program.redeem(code)):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert program.reasons() == ["client_not_admitted"] * 2
    assert program.live() == (1, 1)
    with program.cast.see(program.tenant):
        assert presented.describe(first["access_token"], program.client)
        assert presented.describe(first["refresh_token"], program.client) is None
        Admission.objects.create(tenant=program.tenant, client=program.client, state=Admission.State.ADMITTED)
    assert program.refresh(first["refresh_token"]).status_code == 200


def test_a_wider_refresh_is_refused_and_spends_nothing(program: LetIn) -> None:
    first = program.tokens()
    answer = program.refresh(first["refresh_token"], scope="a.read a.admin")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert program.reasons() == ["invalid_scope"]
    assert program.refresh(first["refresh_token"]).status_code == 200


def test_a_refresh_for_another_resource_is_refused_and_spends_nothing(program: LetIn) -> None:
    first = program.tokens()
    theirs = program.resource.replace(program.tenant.slug, program.cast.beta.slug)
    for resource in (theirs, [program.resource, theirs]):
        assert program.refresh(first["refresh_token"], resource=resource).json()["error"] == "invalid_target"
    assert program.refresh(first["refresh_token"]).status_code == 200


def test_an_access_token_is_no_refresh_token(program: LetIn) -> None:
    assert program.refresh(program.tokens()["access_token"]).json()["error"] == "invalid_grant"


# Races


def test_parallel_refreshes_all_get_the_same_answer(program: LetIn) -> None:
    first = program.tokens()["refresh_token"]
    answers = at_once([lambda: program.refresh(first)] * 6)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}) == 1
    assert program.live()[1] == 1


def test_of_parallel_exchanges_of_a_code_one_succeeds_and_nothing_stays_live(program: LetIn) -> None:
    code = program.code()
    answers = at_once([lambda: program.redeem(code)] * 6)
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400, 400]
    assert program.live() == (0, 0)


def _waits_for_a_lock() -> bool:
    with as_app() as conn:
        asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(rows(conn, asked))


def test_a_revocation_beside_a_rotation_leaves_nothing_live(program: LetIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rotation has written its successor and not committed; a revocation that did not wait would miss it."""
    first = program.tokens()
    rotated, go_on = threading.Event(), threading.Event()
    really = validator._mark_used

    def paused(client: Any) -> None:
        really(client)
        rotated.set()
        assert go_on.wait(20)

    monkeypatch.setattr(validator, "_mark_used", paused)

    def revoke() -> Any:
        assert rotated.wait(20)
        return post("/revoke", {"token": first["access_token"], "client_id": program.client.client_id})

    def watch() -> None:
        try:
            assert rotated.wait(20)
            until(_waits_for_a_lock)
        finally:
            go_on.set()

    refreshed, revoked, _ = at_once([lambda: program.refresh(first["refresh_token"]), revoke, watch])
    assert (refreshed.status_code, revoked.status_code) == (200, 200)
    assert program.live() == (0, 0)
    with program.cast.see(program.tenant):
        assert not AccessToken.objects.filter(consent=program.consent).exists()
