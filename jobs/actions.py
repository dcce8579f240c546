"""Writing hooks, as verbs. Each is one transaction with its ledger entry."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction

from access.outside import private_hosts
from audit import changes, entries
from jobs.hooks import new_secret
from jobs.models import Hook
from lib import seal
from tenants.models import Tenant, User
from tools.models import UPSTREAM

MOST_HOOKS = 20
"""Of one tenant: each of its jobs tells all of them."""


@transaction.atomic
def add_hook(tenant: Tenant, url: str, *, actor: User) -> tuple[Hook, str]:
    """A new hook and the secret that its deliveries are signed with, which is shown this once.

    Raises ValidationError for a URL that the hub would not send to, and for one hook too many.
    """
    check_url(url)
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)  # of two at once, the second counts the first
    if Hook.objects.filter(tenant=tenant).count() >= MOST_HOOKS:
        raise ValidationError(f"A tenant has at most {MOST_HOOKS} hooks; remove one that is not needed.")
    secret = new_secret()
    hook = Hook.objects.create(tenant=tenant, url=url, secret=seal.seal(secret), created_by=actor)
    changes.record(tenant_id=tenant.pk, actor=actor.username, verb="created", subject=hook, after=_snapshot(hook))
    return hook, secret


@transaction.atomic
def change_hook(hook: Hook, *, url: str, enabled: bool, actor: User) -> Hook:
    """Another URL for a hook, or its switch; what waits for it is sent to the new URL."""
    if url != hook.url:
        check_url(url)
    before = _snapshot(Hook.objects.select_for_update().get(pk=hook.pk))
    hook.url, hook.enabled, hook.failing_since = url, enabled, None
    hook.save(update_fields=["url", "enabled", "failing_since"])
    changes.record(
        tenant_id=hook.tenant_id,
        actor=actor.username,
        verb="changed",
        subject=hook,
        before=before,
        after=_snapshot(hook),
    )
    return hook


@transaction.atomic
def renew_hook_secret(hook: Hook, *, actor: User) -> str:
    """Another secret, shown this once; from now on deliveries are signed with it."""
    secret = new_secret()
    hook.secret = seal.seal(secret)
    hook.save(update_fields=["secret"])
    changes.record(tenant_id=hook.tenant_id, actor=actor.username, verb="renewed the secret of", subject=hook)
    return secret


@transaction.atomic
def remove_hook(hook: Hook, *, actor: User) -> None:
    """Delete a hook with the log of its deliveries."""
    before = _snapshot(hook)
    changes.record(tenant_id=hook.tenant_id, actor=actor.username, verb="deleted", subject=hook, before=before)
    hook.delete()


def _snapshot(hook: Hook) -> dict[str, Any]:
    """For the ledger: of the URL its origin, and a digest by which another path is seen to be another one."""
    return {**changes.snapshot(hook), "url": {"origin": hook.origin, "digest": entries.digest(hook.url)}}


def check_url(url: str) -> None:
    """Raise ValidationError, naming the field, for what deliveries are not sent to: https only, but for private hosts
    that the operator allows. Where its name leads is looked at when something is sent."""
    UPSTREAM(url)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.fragment:
        raise ValidationError({"url": "Leave out user name, password and fragment."})
    if parts.scheme != "https" and not {parts.netloc, parts.hostname} & private_hosts(url):
        raise ValidationError({"url": "Use https: what is sent says which jobs you run."})
