"""Invitations: what a link gives, to whom, and how often."""

import concurrent.futures
import datetime
import html
import re

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from lib import db
from tenants import actions, invitations
from tenants.models import Invitation, Member, Role, Tenant, User
from tests.accounts.people import NEW_PASSWORD, browser, ledger_of_platform, sign_in
from tests.admin.conftest import entries
from tests.cast import Cast


def invite(cast: Cast, role: Role = Role.USER, *, by: User | None = None, email: str = "") -> tuple[Invitation, str]:
    """An invitation to acme and the path of its link."""
    with cast.see(cast.acme):
        invitation, link = invitations.invite(cast.acme, role=role, email=email, actor=by or cast.olga)
    return invitation, "/join/" + link.rpartition("/join/")[2]


def as_browser(user: User) -> Client:
    client = browser()
    client.force_login(user)
    return client


def role_of(cast: Cast, user: User, tenant: Tenant | None = None) -> str | None:
    tenant = tenant or cast.acme
    with cast.see(tenant):
        return Member.objects.filter(tenant=tenant, user=user, active=True).values_list("role", flat=True).first()


def accept(client: Client, link: str) -> int:
    """Follow a link and press the button; the last status."""
    followed = client.get(link)
    return client.post("/join/").status_code if followed.status_code == 302 else followed.status_code


def test_whoever_follows_a_link_and_agrees_is_a_member(cast: Cast) -> None:
    _, link = invite(cast, Role.AUDITOR)
    client = as_browser(cast.bob)
    page = client.get(link, follow=True).content.decode()
    assert cast.acme.name in page
    assert cast.olga.username in page
    assert "Auditor" in page
    assert role_of(cast, cast.bob) is None, "following alone changes nothing"
    assert client.post("/join/")["location"] == "/admin/"
    assert role_of(cast, cast.bob) == Role.AUDITOR
    told = [(entry.actor, entry.reason) for entry in entries(cast, cast.acme, actor=cast.bob.username)]
    assert told == [(cast.bob.username, "accepted"), (cast.bob.username, "added")]


def test_the_secret_of_a_link_is_neither_kept_nor_passed_on(cast: Cast) -> None:
    invitation, link = invite(cast)
    client = browser()
    answer = client.get(link)
    secret = link.rpartition("/")[2]
    assert answer["location"] == "/join/"
    assert answer["referrer-policy"] == "no-referrer"
    assert "no-store" in answer["cache-control"]
    assert secret not in str(dict(client.session))
    assert secret not in client.get("/join/").content.decode()
    with cast.see(cast.acme):
        assert secret not in str(Invitation.objects.filter(pk=invitation.pk).values())
    assert secret not in str([entry.detail for entry in entries(cast, cast.acme)])


def test_a_stranger_signs_in_and_comes_back_to_the_invitation(cast: Cast) -> None:
    _, link = invite(cast)
    client = browser()
    page = client.get(link, follow=True).content.decode()
    assert f'href="{reverse("account_login")}?next=/join/"' in page
    answer = sign_in(client, cast.bob.username, cast.password)
    assert answer["location"] == "/join/", "also when they went to sign in by themselves"
    assert client.post("/join/").status_code == 302
    assert role_of(cast, cast.bob) == Role.USER


def test_a_stranger_with_an_invitation_makes_an_account_and_joins(cast: Cast) -> None:
    _, link = invite(cast)
    client, name = browser(), f"nina-{cast.acme.slug}"
    client.get(link)
    given = {"email": f"{name}@example.com", "username": name, "password1": NEW_PASSWORD, "next": "/join/"}
    assert client.post("/accounts/signup/", given)["location"] == "/join/"
    assert client.post("/join/")["location"] == f"/t/{cast.acme.slug}/"
    nina = User.objects.get(username=name)
    assert role_of(cast, nina) == Role.USER
    assert not nina.is_superuser
    assert [entry.reason for entry in ledger_of_platform(actor=name)] == ["signed up"]


def test_no_two_people_are_told_apart_by_capitals_alone(cast: Cast) -> None:
    _, link = invite(cast)
    client, name = browser(), cast.uma.username.title()
    client.get(link)
    given = {"email": f"{name}@other.example", "username": name, "password1": NEW_PASSWORD}
    assert "capitals make no difference" in client.post("/accounts/signup/", given).content.decode()
    assert not User.objects.filter(username=name).exists()


def test_signing_up_needs_the_invitation_to_be_open_still(cast: Cast) -> None:
    invitation, link = invite(cast)
    client, name = browser(), f"nina-{cast.acme.slug}"
    client.get(link)
    with cast.see(cast.acme):
        assert invitations.revoke(invitation, actor="system")
    given = {"email": f"{name}@example.com", "username": name, "password1": NEW_PASSWORD}
    assert "by invitation" in client.post("/accounts/signup/", given).content.decode()
    assert not User.objects.filter(username=name).exists()


def test_a_link_works_once(cast: Cast) -> None:
    _, link = invite(cast)
    assert accept(as_browser(cast.bob), link) == 302
    assert accept(as_browser(cast.staff), link) == 404
    assert role_of(cast, cast.staff) is None


def test_of_many_who_accept_at_once_one_becomes_a_member(cast: Cast) -> None:
    _, link = invite(cast)
    people = [cast.join(cast.beta, f"p{number}", Role.USER).user for number in range(6)]
    digest = invitations.digest_of(link.rpartition("/")[2])

    def one(user: User) -> bool:
        try:
            return invitations.accept(digest, user) is not None
        finally:
            connections.close_all()

    with concurrent.futures.ThreadPoolExecutor(len(people)) as crowd:
        assert sum(crowd.map(one, people)) == 1
    assert sum(role_of(cast, user) is not None for user in people) == 1


def test_wrong_used_revoked_and_expired_links_get_one_and_the_same_page(cast: Cast) -> None:
    used, revoked, expired = invite(cast), invite(cast), invite(cast)
    accept(as_browser(cast.bob), used[1])
    with cast.see(cast.acme):
        invitations.revoke(revoked[0], actor="system")
        Invitation.objects.filter(pk=expired[0].pk).update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    links = (used[1], revoked[1], expired[1], "/join/wrong", "/join/")
    answers = [browser().get(link) for link in links]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert "opens nothing" in answers[0].content.decode()


def test_an_invitation_of_a_disabled_tenant_opens_nothing(cast: Cast) -> None:
    _, link = invite(cast)
    with cast.see(cast.acme):
        cast.acme.enabled = False
        actions.save(cast.acme, actor="system")
    assert browser().get(link).status_code == 404


def test_guessing_links_is_slowed_while_real_ones_still_open(cast: Cast) -> None:
    _, link = invite(cast)
    guesser = browser()
    answers = [guesser.get(f"/join/guess-{number}").status_code for number in range(12)]
    assert answers == [404] * 10 + [429] * 2
    assert browser().get(link).status_code == 302


@pytest.mark.parametrize(
    ("role", "offered", "becomes"),
    [
        ("owner", "user", "owner"),
        ("admin", "auditor", "admin"),
        ("auditor", "approver", "auditor"),
        ("user", "approver", "approver"),
        ("user", "admin", "admin"),
    ],
)
def test_an_invitation_raises_a_member_and_never_lowers_one(cast: Cast, role: str, offered: str, becomes: str) -> None:
    member = cast.join(cast.acme, "mia", Role(role)).user
    _, link = invite(cast, Role(offered))
    assert accept(as_browser(member), link) == 302
    assert role_of(cast, member) == becomes


def test_a_membership_that_was_switched_off_stays_off(cast: Cast) -> None:
    with cast.see(cast.acme):
        member = Member.objects.get(tenant=cast.acme, user=cast.uma)
        member.active = False
        actions.change_member(member, actor="system")
    _, link = invite(cast)
    client = as_browser(cast.uma)
    assert accept(client, link) == 403
    assert role_of(cast, cast.uma) is None
    assert accept(as_browser(cast.bob), link) == 302, "and the invitation is still open"


@pytest.mark.parametrize(
    ("person", "role", "may"),
    [
        ("olga", Role.OWNER, True),
        ("adam", Role.USER, True),
        ("adam", Role.ADMIN, False),
        ("adam", Role.OWNER, False),
        ("audrey", Role.USER, False),
        ("bob", Role.USER, False),
        ("staff", Role.OWNER, True),
    ],
)
def test_who_may_invite_as_what(cast: Cast, person: str, role: Role, may: bool) -> None:
    if may:
        invite(cast, role, by=getattr(cast, person))
    else:
        with pytest.raises(ValidationError, match="Only an owner"):
            invite(cast, role, by=getattr(cast, person))


def test_an_invitation_is_worth_no_more_than_its_maker_is_now(cast: Cast) -> None:
    other = cast.join(cast.acme, "otto", Role.OWNER)
    _, owners = invite(cast, Role.OWNER, by=other.user)
    _, users = invite(cast, Role.USER, by=other.user)
    with cast.see(cast.acme):
        other.role = Role.ADMIN
        actions.change_member(other, actor="system")
    assert accept(as_browser(cast.bob), owners) == 404
    assert role_of(cast, cast.bob) is None
    assert accept(as_browser(cast.bob), users) == 302


def test_an_owner_makes_one_in_the_admin_sees_the_link_once_and_takes_it_back(cast: Cast) -> None:
    olga = as_browser(cast.olga)
    add = reverse("admin:tenants_invitation_add")
    assert f'href="{add}?tenant={cast.acme.pk}"' in _page(olga, "tenants_tenant", cast.acme.pk)
    answer = olga.post(add, {"role": "user", "email": "new@example.com"})
    page = html.unescape(answer.content.decode())
    link = re.search(r"http://localhost:\d+(/join/[\w-]{43})<", page)
    assert link
    assert "no-store" in answer["cache-control"]
    assert "new@example.com" in page
    with cast.see(cast.acme):
        made = Invitation.objects.get(tenant=cast.acme)
    assert link[1] not in _page(olga, "tenants_invitation", made.pk)
    assert "open" in olga.get(reverse("admin:tenants_invitation_changelist")).content.decode()
    revoke = reverse("admin:tenants_invitation_revoke", args=[made.pk])
    assert "cannot be undone" in olga.get(revoke).content.decode()
    assert olga.post(revoke).status_code == 302
    assert browser().get(link[1]).status_code == 404
    told = [entry.reason for entry in entries(cast, cast.acme, subject__startswith="tenants.Invitation")]
    assert told == ["invited", "revoked"]


def test_an_admin_cannot_invite_an_owner_and_is_told_why(cast: Cast) -> None:
    given = {"role": "owner", "email": ""}
    page = as_browser(cast.adam).post(reverse("admin:tenants_invitation_add"), given).content.decode()
    assert "Only an owner can invite an owner or an admin." in page
    with cast.see(cast.acme):
        assert not Invitation.objects.filter(tenant=cast.acme).exists()


def test_nobody_sees_or_revokes_another_tenants_invitation(cast: Cast) -> None:
    invitation, _ = invite(cast)
    bob = as_browser(cast.bob)
    assert bob.post(reverse("admin:tenants_invitation_revoke", args=[invitation.pk])).status_code == 404
    assert bob.post(
        f"{reverse('admin:tenants_invitation_add')}?tenant={cast.acme.pk}", {"role": "user"}
    ).status_code in (
        200,
        403,
    )
    with db.tenant_scope([cast.acme.pk]):
        assert [one.state for one in Invitation.objects.filter(tenant=cast.acme)] == ["open"]


@override_settings(SENDS_MAIL=True)
def test_with_a_mail_server_the_link_is_mailed_once_the_invitation_is_kept(cast: Cast) -> None:
    mail.outbox.clear()
    answer = as_browser(cast.olga).post(
        reverse("admin:tenants_invitation_add"), {"role": "user", "email": "new@example.com"}
    )
    assert "the hub is mailing it there" in answer.content.decode()
    (sent,) = mail.outbox
    assert sent.to == ["new@example.com"]
    assert cast.acme.name in sent.subject
    link = re.search(r"http://localhost:\d+(/join/\S+)", str(sent.body))
    assert link
    assert browser().get(link[1]).status_code == 302


def _page(client: Client, model: str, key: int) -> str:
    return client.get(reverse(f"admin:{model}_change", args=[key])).content.decode()
