"""What people change about how they sign in, and attempts that failed, as entries of the platform's ledger."""

from typing import Any

from allauth.account import signals as account
from allauth.account.adapter import get_adapter
from allauth.account.internal import userkit
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from django.contrib.auth.base_user import AbstractBaseUser
from django.dispatch import receiver
from django.http import HttpRequest

from access import refusals
from audit import changes
from tenants.actions import PLATFORM
from tenants.models import User

_KINDS: dict[str, str] = {
    Authenticator.Type.TOTP: "an authenticator app",
    Authenticator.Type.WEBAUTHN: "a passkey or security key",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


def record(user: AbstractBaseUser, note: str) -> None:
    """An entry that a person changed this about their own account."""
    changes.record(tenant_id=PLATFORM, actor=user.get_username(), verb="changed", subject=user, note=note)


def whose(login: str) -> User | None:
    """Who signs in with this name or address, found as signing in finds them."""
    found: list[User] = userkit.filter_users_by_email(login, prefer_verified=True, for_login=True)
    if found:
        return min(found, key=lambda user: user.pk)
    named = userkit.get_user_by_username(login)
    return named if isinstance(named, User) else None


def failed(login: str, address: str) -> None:
    """An entry of a sign-in that failed. Only a person that exists is named: people mistake the field."""
    user = whose(login)
    refusals.record(tenant_id=None, reason="wrong_password", actor=user.username if user else "", address=address)


@receiver(account.user_signed_up)
def _signed_up(user: User, request: HttpRequest, **_: Any) -> None:
    changes.record(
        tenant_id=PLATFORM, actor=user.username, verb="signed up", subject=user, after=changes.snapshot(user)
    )


@receiver(mfa.authenticator_added)
def _added(user: User, authenticator: Authenticator, **_: Any) -> None:
    record(user, f"added {_KINDS[authenticator.type]}")


@receiver(mfa.authenticator_removed)
def _removed(user: User, authenticator: Authenticator, **_: Any) -> None:
    record(user, f"removed {_KINDS[authenticator.type]}")


@receiver(mfa.authenticator_reset)
def _reset(user: User, authenticator: Authenticator, **_: Any) -> None:
    record(user, f"made new {_KINDS[authenticator.type]}")


@receiver(mfa.authentication_failed)
def _wrong_code(user: User, request: HttpRequest, **_: Any) -> None:
    address = get_adapter(request).get_client_ip(request)
    refusals.record(tenant_id=None, reason="wrong_second_factor", actor=user.username, address=address)


@receiver(social.social_account_added)
def _connected(sociallogin: Any, **_: Any) -> None:
    record(sociallogin.user, f"connected {sociallogin.account.provider}")


@receiver(social.social_account_removed)
def _disconnected(socialaccount: Any, **_: Any) -> None:
    record(socialaccount.user, f"disconnected {socialaccount.provider}")
