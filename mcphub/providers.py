"""The OpenID Connect providers people may sign in with, as the setting `SIGN_IN_WITH` describes them."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("takes an https URL; http only on this machine")
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("takes the issuer's URL without user, query or fragment")
    return url.rstrip("/")


class Provider(BaseModel):
    """One button on the sign-in page (OpenID Connect Discovery 1.0 section 4 finds the rest from `issuer`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")  # part of its callback URL
    name: str = Field(min_length=1, max_length=40)
    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: str = Field(min_length=1)
    client_secret: str = Field(min_length=1, repr=False)
    opens: bool = False
    """Whether somebody whom the hub does not know gets an account by signing in there."""


_LIST = TypeAdapter(list[Provider])


def parse(text: str) -> list[Provider]:
    """The providers in a JSON list; raises ImproperlyConfigured, which never repeats the text: it holds secrets."""
    try:
        found = _LIST.validate_json(text or "[]")
    except ValidationError as problem:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg']}"
            for one in problem.errors(include_input=False, include_url=False, include_context=False)
        )
        raise ImproperlyConfigured(f"SIGN_IN_WITH is not a JSON list of providers ({said}).") from None
    if len({one.id for one in found}) < len(found):
        raise ImproperlyConfigured("SIGN_IN_WITH names two providers with the same id.")
    return found


def as_apps(providers: list[Provider]) -> list[dict[str, Any]]:
    """The same in allauth's words; `opens` is read back by mcphub.accounts."""
    return [
        {
            "provider_id": one.id,
            "name": one.name,
            "client_id": one.client_id,
            "secret": one.client_secret,
            "settings": {"server_url": one.issuer, "oauth_pkce_enabled": True, "opens": one.opens},
        }
        for one in providers
    ]
