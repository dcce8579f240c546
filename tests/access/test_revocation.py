"""A client gives its tokens back (RFC 7009): what the ledger says of it, and of what was nothing."""

import pytest

from audit.models import Entry, Event
from tests.access.grants import LetIn, basic, post
from tests.cast import Cast
from tests.ledger import entries
from tests.tokens import robot


def told(program: LetIn) -> list[Entry]:
    """What the tenant's ledger says that this client changed, the oldest first."""
    return entries(program.cast, program.tenant, Event.CHANGED, client=program.client.client_id)


def give_back(program: LetIn, token: str) -> None:
    answer = post("/revoke", {"token": token, "client_id": program.client.client_id})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_what_a_client_gives_back_is_an_entry_of_who_and_what(program: LetIn, kind: str) -> None:
    tokens = program.tokens()
    family = program.opened(tokens["access_token"]).token_family
    give_back(program, tokens[kind])
    (entry,) = told(program)
    assert (entry.reason, entry.actor) == ("revoked tokens", program.user.username)
    assert (entry.via, entry.address) == ("oauth", "127.0.0.1")
    assert entry.subject.startswith(f"access.Consent:{program.consent.pk} ")
    assert entry.detail == {"note": f"its client gave back the tokens of family {family}"}
    assert not [kind for kind in ("access_token", "refresh_token") if tokens[kind] in str(vars(entry))]


def test_what_was_given_back_before_is_told_once(program: LetIn) -> None:
    token = program.tokens()["refresh_token"]
    give_back(program, token)
    give_back(program, token)
    assert len(told(program)) == 1


def test_a_used_refresh_token_that_takes_its_successor_along_is_told(program: LetIn) -> None:
    first = program.tokens()["refresh_token"]
    program.refresh(first)
    give_back(program, first)
    assert len(told(program)) == 1


def test_an_unknown_token_and_anothers_leave_nothing(program: LetIn, cast: Cast) -> None:
    theirs = LetIn(cast, user=cast.anna)
    for token in ("unknown", "mcphub_at_unknown", theirs.tokens()["access_token"]):
        give_back(program, token)
    assert told(program) == told(theirs) == []
    assert program.reasons() == []


def test_a_machine_that_gives_its_token_back_is_told_as_its_member(cast: Cast) -> None:
    cast.scopes(cast.acme, {"a.read": "Read"})
    machine = robot(cast, cast.uma, scopes=["a.read"])
    proof = basic(machine.client_id, "s3cret")
    token = post("/token", {"grant_type": "client_credentials"}, authorization=proof).json()["access_token"]
    assert post("/revoke", {"token": token}, authorization=proof).status_code == 200
    (entry,) = entries(cast, cast.acme, Event.CHANGED, reason="revoked tokens")
    assert (entry.actor, entry.client) == (cast.uma.username, machine.client_id)
    assert entry.subject.startswith(f"access.Client:{machine.pk} ")
