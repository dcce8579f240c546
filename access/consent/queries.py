"""What the consent page and the connected apps read. All of it runs inside the scope of the tenants concerned."""

from collections.abc import Iterable, Sequence

from django.db.models import Q
from django.utils import timezone

from access import unlocks
from access.callers import caller_of
from access.consent import changed, offer
from access.consent.hosts import Host
from access.models import APIKey, Client, Consent
from access.oauth import redirects
from access.oauth.authorization import Asked
from access.unlocks import Unlocked
from audit.models import Entry, Event
from tenants import pins
from tenants.models import Member, Scope, Tenant
from tenants.scopes import ScopeRule

_CALLS = 5
_ENDED = (Event.FINISHED, Event.REFUSED, Event.INTERRUPTED)


def tenant_of(asked: Asked) -> Tenant:
    return Tenant.objects.get(pk=asked.tenant_id)


def member_of(tenant: Tenant, user_id: int) -> Member | None:
    """The person as an active member of the tenant."""
    found = Member.objects.select_related("user", "tenant")
    return found.filter(tenant=tenant, user_id=user_id, active=True, user__is_active=True).first()


def consent_of(member: Member, asked: Asked) -> Consent | None:
    """What the member let this client do; it may have run out."""
    return Consent.objects.filter(member=member, client=asked.client, revoked_at=None).first()


def offer_for(member: Member, asked: Asked, host: Host, old: Consent | None) -> offer.Offer:
    """The question this request puts to the member."""
    return offer.make(
        asked=asked.scopes,
        scopes=_described(asked.tenant_id),
        role=member.role,
        tools=_tools(member, asked.client, old),
        given=_given(old) if old and old.live else None,
        about={
            "client": asked.client.client_id,
            "name": host.name,
            "tenant": member.tenant.slug,
            "as": member.user.username,
            "origin": redirects.origin(asked.redirect_uri),
        },
    )


def tools_of(consent: Consent, read: unlocks.Provider = unlocks.of) -> Sequence[Unlocked]:
    """The live tools of its tenant that are no secret to its member, by its client. read: for who asks about many,
    one that remembers."""
    return _tools(consent.member, consent.client, consent, read)


def _tools(
    member: Member, client: Client, consent: Consent | None, read: unlocks.Provider = unlocks.of
) -> Sequence[Unlocked]:
    caller = caller_of(member, credential=f"app:{consent.pk if consent else 0}", client=client.name)
    return read(member.tenant_id)(caller)


def _given(old: Consent) -> offer.Given:
    return offer.Given(scopes=frozenset(old.scopes), shown=old.shown, pins=pins.read(old.pins))


def _described(tenant_id: int) -> dict[str, offer.Described]:
    return {
        scope.name: offer.Described(
            says=scope.description,
            needed=scope.needed,
            rule=ScopeRule(implies=frozenset(scope.implies), roles=frozenset(scope.roles)),
        )
        for scope in Scope.objects.filter(tenant_id=tenant_id)
    }


def connections_of(user_id: int) -> list[Consent]:
    """What the person lets programs do now, in the tenants in sight, the latest first."""
    live = Q(revoked_at=None) & (Q(until=None) | Q(until__gt=timezone.now()))
    found = Consent.objects.filter(live, member__user_id=user_id, member__active=True)
    return list(found.select_related("client", "tenant", "member__user").order_by("-given_at", "-pk"))


def connection_of(user_id: int, consent_id: int) -> Consent | None:
    """One of the person's own; None for anybody else's."""
    found = Consent.objects.select_related("client", "tenant", "member__user")
    return found.filter(pk=consent_id, member__user_id=user_id).first()


def changes_of(consent: Consent, read: unlocks.Provider) -> list[changed.Changed]:
    """The tools that are not what the consent was given for."""
    covered = [tool for tool in tools_of(consent, read) if tool.scopes.issubset(consent.scopes)]
    return changed.since(pins.read(consent.pins), covered)


def teams_of(user_id: int) -> list[Tenant]:
    """The tenants in which the person is an active member."""
    found = Tenant.objects.filter(members__user_id=user_id, members__active=True, enabled=True)
    return list(found.order_by("name", "slug"))


def scope_words(tenant_ids: Iterable[int]) -> dict[tuple[int, str], str]:
    """What each scope lets somebody do, by tenant and name."""
    scopes = Scope.objects.filter(tenant_id__in=set(tenant_ids))
    return {(scope.tenant_id, scope.name): scope.description for scope in scopes}


def calls_of(consent: Consent) -> list[Entry]:
    """The last calls that came by this consent. The ledger shows a tenant's entries; these are only its member's."""
    found = Entry.objects.filter(
        tenant_id=consent.tenant_id,
        actor=consent.member.user.username,
        credential=f"app:{consent.pk}",
        event__in=_ENDED,
    )
    return list(found.order_by("-at", "-id")[:_CALLS])


def keys_of(user_id: int) -> list[APIKey]:
    """The person's API keys that work now, in the tenants in sight."""
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
    found = APIKey.objects.filter(live, member__user_id=user_id, member__active=True)
    return list(found.select_related("tenant").order_by("tenant__name", "name", "pk"))
