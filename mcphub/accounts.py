"""What the hub decides about signing in and up, where allauth asks: who may sign up, who must confirm an address, and
how secrets of second factors are kept.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
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
from mcphub import account_entries
from tenants import invitations


class AccountAdapter(DefaultAccountAdapter):
    """Signing up takes an invitation."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "This name and this password do not go together.",
        "email_password_mismatch": "This address and this password do not go together.",
        "too_many_login_attempts": "Too many attempts failed. Wait five minutes, then try again.",
        "incorrect_password": "This is not your password.",
        "enter_current_password": "This is not your password.",
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
        with transaction.atomic():
            super().set_password(user, password)
            account_entries.record(user, "set a new password")

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        login = str(credentials.get("username") or credentials.get("email") or "")
        account_entries.failed(login, self.get_client_ip(request))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """After the transaction of the page, if it has one: a slow mail server must not keep it open."""
        message = self.render_mail(template_prefix, email, {**context, "email": email, "base_url": settings.BASE_URL})
        transaction.on_commit(message.send, robust=True)


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
