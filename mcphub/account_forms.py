"""The forms of signing in and up and of second factors, in our words; what they do is allauth's."""

from typing import Any

from allauth.account import forms as account
from allauth.mfa.base import forms as second_factor
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django import forms


class _Plain:
    """Labels above the fields say what they are, so nothing is written into them."""

    fields: dict[str, forms.Field]
    labels: dict[str, str] = {}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = self.labels.get(name, field.label)
            field.widget.attrs.pop("placeholder", None)


class SignIn(_Plain, account.LoginForm):
    """Name or address, password, and whether to stay signed in."""

    labels = {
        "login": "User name or e-mail",
        "remember": "Stay signed in on this device",
    }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs |= {"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        self.fields["password"].help_text = ""  # the page itself says what to do without one

    def user_credentials(self) -> dict[str, Any]:
        """What was typed, once: given as name and as address, a known address would be checked twice and be slower."""
        return {"username": self.cleaned_data["login"], "password": self.cleaned_data["password"]}


class SignUp(_Plain, account.SignupForm):
    """Address, name and password of somebody who was invited."""

    labels = {"email": "E-mail", "username": "User name"}


class ChangePassword(_Plain, account.ChangePasswordForm):
    """The old password and twice the new one."""

    labels = {
        "oldpassword": "Your password now",
        "password1": "The new password",
        "password2": "The new one again",
    }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].help_text = ""


class SetPassword(_Plain, account.SetPasswordForm):
    """Twice the first password of somebody who signs in elsewhere."""

    labels = {"password1": "The password", "password2": "The same again"}


class AskForReset(_Plain, account.ResetPasswordForm):
    """The address a link is mailed to."""

    labels = {"email": "E-mail"}


class ResetPassword(_Plain, account.ResetPasswordKeyForm):
    """Twice the new password, after following the link."""

    labels = {"password1": "The new password", "password2": "The new one again"}


class Reauthenticate(_Plain, account.ReauthenticateForm):
    """The password once more."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""


class Code(_Plain, second_factor.AuthenticateForm):
    """A code of the app, or a recovery code."""


class CodeAgain(_Plain, second_factor.ReauthenticateForm):
    """A code once more."""


class ActivateApp(_Plain, totp.ActivateTOTPForm):
    """The first code of a new app."""

    labels = {"code": "Code"}


class AddPasskey(_Plain, webauthn.AddWebAuthnForm):
    """What a new key is called, and whether it signs in alone."""

    labels = {"passwordless": "Sign in with it alone, without the password"}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        field = self.fields["passwordless"]
        field.initial = True
        field.help_text = (
            "The device then asks for fingerprint, face or PIN. Without this, it only confirms after the password that "
            "it is you, which any security key can do."
        )
