"""What the hub decides about signing in and up, where allauth asks: who may sign up, who must confirm an address, and
how secrets of second factors are kept.
"""

import logging
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from lib import seal
from mcphub import account_entries, oidc, passwords
from tenants import invitations
from tenants.models import NAME_TAKEN

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """Signing up takes an invitation; guessing ends soon; nothing mailed repeats what a client said the host is."""

    _of_address: ratelimit.RateLimitUsage | None = None

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "This name and this password do not go together.",
        "email_password_mismatch": "This address and this password do not go together.",
        "too_many_login_attempts": "Too many attempts failed. Wait five minutes, then try again.",
        "incorrect_password": "This is not your password.",
        "enter_current_password": "This is not your password.",
        "username_taken": NAME_TAKEN,
        "email_taken": "Somebody has an account with this address already. If that is you, sign in instead.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return invitations.kept_in(request) is not None

    def get_login_stages(self) -> list[str]:
        ours = f"{ConfirmAddressStage.__module__}.{ConfirmAddressStage.__qualname__}"
        theirs = f"{EmailVerificationStage.__module__}.{EmailVerificationStage.__qualname__}"
        return [ours if stage == theirs else stage for stage in super().get_login_stages()]

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where signing in leads when no page asked for it: to an invitation that was followed before."""
        return reverse("join") if invitations.kept_in(request) else str(super().get_login_redirect_url(request))

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return self.get_login_redirect_url(request)

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        user.set_password(password)  # slow, so before the transaction
        with transaction.atomic():
            user.save()
            account_entries.record(user, "set a new password")

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """One count for each person, whether the name or the address is tried, and whichever Host the client sends."""
        login = _login(credentials)
        user = account_entries.whose(login)
        return f"user:{user.pk}" if user else f"login:{login.lower()}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Beside allauth's counts, which a right code of one's own clears, one of the address that nothing clears."""
        self._of_address = ratelimit.consume(request, app="allauth.account", action="login_failed_from")
        if not self._of_address:
            raise self.validation_error("too_many_login_attempts")
        super().pre_authenticate(request, **credentials)

    def _rollback_login_failed_rl_usage(self) -> None:
        super()._rollback_login_failed_rl_usage()
        if self._of_address:
            self._of_address.rollback()

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        try:
            user: AbstractBaseUser | None = super().authenticate(request, **credentials)
        except passwords.Busy:  # nothing was compared, so nothing failed
            self._rollback_login_failed_rl_usage()
            raise
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        account_entries.failed(_login(credentials), self.get_client_ip(request))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Hand a mail over (see mcphub.mail) once the page's transaction, if it has one, is committed.

        Every URL in the context becomes one of BASE_URL: allauth makes them of the Host, which the client chose.
        """
        ours = {name: _at_base(value) if name.endswith("_url") else value for name, value in context.items()}
        site = {"name": "mcphub", "domain": urlsplit(settings.BASE_URL).netloc}
        given = {**ours, "email": email, "base_url": settings.BASE_URL, "current_site": site}
        transaction.on_commit(self.render_mail(template_prefix, email, given).send, robust=True)


def _login(credentials: dict[str, Any]) -> str:
    """The name or address somebody tries."""
    return str(credentials.get("username") or credentials.get("email") or "")


def _at_base(url: str) -> str:
    """The same path at BASE_URL."""
    return settings.BASE_URL + urlsplit(url)._replace(scheme="", netloc="").geturl()


class ConfirmAddressStage(EmailVerificationStage):
    """Who signed up confirms their address. Whom platform staff made was vouched for, perhaps without an address."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if user is not None and not EmailAddress.objects.filter(user_id=user.pk).exists():
            return None, True
        answer: tuple[HttpResponse | None, bool] = super().handle()  # type: ignore[no-untyped-call]
        return answer


class SocialAdapter(DefaultSocialAccountAdapter):
    """Signing up through a provider takes an invitation too, unless the operator opened the hub to its people."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        app: Any = sociallogin.provider.app
        return bool(app.settings.get("opens")) or invitations.kept_in(request) is not None

    def get_requests_session(self) -> oidc.Session:
        return oidc.Session()

    def on_authentication_error(self, request: HttpRequest, provider: Any, *_: Any, **given: Any) -> None:
        """For the operator. Of other errors than a provider that fails, only the kind: they repeat its answer."""
        problem = given.get("exception")
        if problem is not None:
            said = problem if isinstance(problem, oidc.Failure) else type(problem).__name__
            log.warning("signing in with %s failed: %s", provider.app.provider_id, said)


class MFAAdapter(DefaultMFAAdapter):
    """Secrets of second factors are sealed like the secrets of connections."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right, or it was used already. Wait for the next one.",
    }

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"

    def encrypt(self, text: str) -> str:
        return seal.seal(text).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return seal.unseal(encrypted_text.encode())


def reseal_factors() -> int:
    """Seal what authenticator apps and recovery codes rest on with the newest key; how many. Raises SealError."""
    factors = Authenticator.objects.select_for_update().exclude(type=Authenticator.Type.WEBAUTHN)
    with transaction.atomic():
        for factor in (found := list(factors)):
            sealed = {name: factor.data[name] for name in ("secret", "seed") if name in factor.data}
            factor.data |= {name: seal.reseal(secret.encode()).decode() for name, secret in sealed.items()}
            factor.save(update_fields=["data"])
    return len(found)
