"""Writing clients: made, changed, blocked, and let in by a tenant. Each is one transaction with its ledger entry."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from access.actions.consents import revoke_consents_of_client
from access.actions.keys import check_scopes
from access.clients import documents
from access.models import AccessToken, Admission, AuthMethod, Client, digest_of
from access.refusals import PLATFORM
from audit import changes
from tenants.models import Member, Tenant


@transaction.atomic
def create_client(tenant: Tenant, *, name: str, redirect_uris: Iterable[str], actor: str) -> Client:
    """A public client that only this tenant knows. Raises ValidationError, for one by a redirect URI."""
    client = _new(tenant, name, client_type=Client.CLIENT_PUBLIC, grant=Client.GRANT_AUTHORIZATION_CODE)
    client.redirect_uris = " ".join(redirect_uris)
    return _made(client, actor)


@transaction.atomic
def create_machine(
    member: Member,
    *,
    name: str,
    scopes: Iterable[str],
    auth_method: AuthMethod,
    actor: str,
    jwks: Mapping[str, Any] | None = None,
    jwks_uri: str = "",
) -> tuple[Client, str | None]:
    """A client that acts by itself as this member with these scopes, and its secret, which is shown this once.

    The secret is None for one that signs, which has a key set instead. Raises ValidationError, as check_scopes does.
    """
    client = _new(member.tenant, name, client_type=Client.CLIENT_CONFIDENTIAL, grant=Client.GRANT_CLIENT_CREDENTIALS)
    client.member, client.scopes = member, sorted(check_scopes(member, scopes))
    client.auth_method = auth_method
    secret = None
    if auth_method == AuthMethod.JWT:
        client.jwks, client.jwks_uri = jwks, jwks_uri
    else:
        secret = _new_secret()
        client.client_secret = digest_of(secret)
    check_proof(auth_method, client.jwks, client.jwks_uri)
    return _made(client, actor), secret


def _new(tenant: Tenant, name: str, *, client_type: str, grant: str) -> Client:
    return Client(
        tenant=tenant,
        client_id=secrets.token_urlsafe(24),
        client_secret="",
        hash_client_secret=False,  # the toolkit's hash is slow, which is for passwords; see digest_of
        client_type=client_type,
        authorization_grant_type=grant,
        name=name,
    )


def _made(client: Client, actor: str) -> Client:
    client.full_clean()
    client.save()
    changes.record(
        tenant_id=_ledger(client), actor=actor, verb="created", subject=client, after=changes.snapshot(client)
    )
    return client


def _new_secret() -> str:
    return f"mcphub_cs_{secrets.token_urlsafe(32)}"


def check_proof(auth_method: str, jwks: Mapping[str, Any] | None, jwks_uri: str) -> None:
    """Raise ValidationError when a machine could not prove itself the way it is meant to."""
    if auth_method == AuthMethod.NONE:
        raise ValidationError({"auth_method": "A machine has to prove itself, by a secret or a signature."})
    if auth_method == AuthMethod.JWT and (why := documents.why_no_keys(jwks, jwks_uri)):
        raise ValidationError({"jwks_uri" if jwks_uri else "jwks": why})


@transaction.atomic
def change_client(client: Client, *, actor: str) -> bool:
    """Store what an admin changed; False when nothing differs. A machine's tokens end, as they carry what it had.

    Raises ValidationError for redirect URIs, scopes or keys that cannot be.
    """
    kept = Client.objects.select_for_update().get(pk=client.pk)
    before = changes.snapshot(kept)
    if client.member is not None:
        client.scopes = sorted(check_scopes(client.member, client.scopes))
        check_proof(client.auth_method, client.jwks, client.jwks_uri)
    client.full_clean()
    if before == changes.snapshot(client):
        return False
    client.save(update_fields=["name", "redirect_uris", "scopes", "jwks", "jwks_uri", "updated"])
    if client.machine:
        _end_tokens(client)
    changes.record(
        tenant_id=_ledger(client),
        actor=actor,
        verb="changed",
        subject=client,
        before=before,
        after=changes.snapshot(client),
    )
    return True


@transaction.atomic
def rotate_secret(client: Client, *, actor: str) -> str:
    """A new secret, shown this once. The old one, and the tokens it got, are refused from the next request on."""
    if not client.machine or client.auth_method == AuthMethod.JWT:
        raise ValidationError(f"{client} has no secret.")
    secret = _new_secret()
    Client.objects.filter(pk=client.pk).update(client_secret=digest_of(secret), updated=timezone.now())
    _end_tokens(client)
    changes.record(tenant_id=_ledger(client), actor=actor, verb="rotated", subject=client, note="a new secret")
    return secret


@transaction.atomic
def disable_client(client: Client, *, actor: str) -> bool:
    """Refuse the client wherever it is known, from the next request on; what was consented to is kept."""
    return _set_blocked(client, blocked=True, actor=actor)


@transaction.atomic
def enable_client(client: Client, *, actor: str) -> bool:
    """Undo `disable_client`."""
    return _set_blocked(client, blocked=False, actor=actor)


def _set_blocked(client: Client, *, blocked: bool, actor: str) -> bool:
    moment = timezone.now() if blocked else None
    # A blocked client does not lapse: forgotten, it would come back without the block.
    moved = Client.objects.filter(pk=client.pk, blocked_at__isnull=blocked).update(blocked_at=moment, lapses_at=None)
    if moved:
        verb = "blocked" if blocked else "unblocked"
        changes.record(tenant_id=_ledger(client), actor=actor, verb=verb, subject=client)
        client.blocked_at = moment
    return bool(moved)


@transaction.atomic
def admit_client(tenant: Tenant, client: Client, *, actor: str) -> bool:
    """Let a tenant's members use a client; False when they may already by an earlier decision."""
    return _decide(tenant, client, Admission.State.ADMITTED, actor)


@transaction.atomic
def block_client(tenant: Tenant, client: Client, *, actor: str) -> bool:
    """Keep a client out of one tenant: what its members let it do is revoked, and nobody can let it in again."""
    moved = _decide(tenant, client, Admission.State.BLOCKED, actor)
    revoke_consents_of_client(tenant.pk, client, actor)
    _end_tokens(client, tenant)
    return moved


def _decide(tenant: Tenant, client: Client, state: Admission.State, actor: str) -> bool:
    admission, created = Admission.objects.select_for_update().get_or_create(
        tenant=tenant, client=client, defaults={"state": state}
    )
    before = None if created else changes.snapshot(admission)
    if not created and admission.state == state:
        return False
    admission.state = state
    admission.save(update_fields=["state"])
    changes.record(
        tenant_id=tenant.pk,
        actor=actor,
        verb=state.value,
        subject=admission,
        before=before,
        after=changes.snapshot(admission),
    )
    return True


def _end_tokens(client: Client, tenant: Tenant | None = None) -> None:
    """Delete a machine's tokens, which come from no consent."""
    tokens = AccessToken.objects.filter(application=client, consent=None)
    (tokens.filter(tenant=tenant) if tenant else tokens).delete()


def _ledger(client: Client) -> int:
    return PLATFORM if client.tenant_id is None else client.tenant_id
