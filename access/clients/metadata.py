"""What a client says about itself (RFC 7591 section 2), in a registration and in a metadata document alike."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from access.oauth import redirects

MOST_BYTES = 16 * 1024
MOST_REDIRECTS = 20
MOST_NAME = 100

Code = Literal["invalid_redirect_uri", "invalid_client_metadata"]

_ASCII = re.compile(r"[!-~]{1,2000}")
# Invisible and yet no control characters: fillers, the braille blank, joiners and variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class Unacceptable(Exception):
    """The metadata cannot be used: the error code of RFC 7591 section 3.2.2, and a sentence."""

    def __init__(self, code: Code, says: str) -> None:
        super().__init__(says)
        self.code = code


class Metadata(BaseModel):
    """The members the hub reads; others are ignored, as the RFC asks. One that is null counts as absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    redirect_uris: list[str] = Field(default=[], max_length=MOST_REDIRECTS)
    client_name: str = ""
    client_uri: str = ""
    logo_uri: str = ""
    scope: str = ""
    grant_types: list[str] = ["authorization_code"]
    response_types: list[str] = ["code"]
    token_endpoint_auth_method: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @property
    def name(self) -> str:
        return clean_name(self.client_name)


def parse(document: object) -> Metadata:
    """Metadata as a JSON value, checked for what a client of people needs. Raises Unacceptable."""
    try:
        metadata = Metadata.model_validate(document)
    except ValidationError as problem:
        raise _shape(problem) from None
    _check_redirects(metadata.redirect_uris)
    if metadata.grant_types and "authorization_code" not in metadata.grant_types:
        raise Unacceptable(
            "invalid_client_metadata",
            "grant_types must contain authorization_code. A program that acts by itself is made by an admin.",
        )
    if metadata.response_types and "code" not in metadata.response_types:
        raise Unacceptable("invalid_client_metadata", "response_types must contain code.")
    return metadata


def _shape(problem: ValidationError) -> Unacceptable:
    first = problem.errors(include_url=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "The metadata"
    code: Code = "invalid_redirect_uri" if field == "redirect_uris" else "invalid_client_metadata"
    return Unacceptable(code, f"{field}: {first['msg']}.")


def _check_redirects(uris: Sequence[str]) -> None:
    if not uris:
        raise Unacceptable("invalid_redirect_uri", "redirect_uris: at least one is needed.")
    for uri in uris:
        if reason := redirects.why_not(uri):
            raise Unacceptable("invalid_redirect_uri", f"redirect_uris: {reason}")


def is_secret_method(method: str) -> bool:
    """Whether a client would prove itself with a secret, which the hub gives only to machines an admin made."""
    return method.startswith("client_secret_")


def clean_name(text: str) -> str:
    """A name fit to be shown: nothing invisible, no control or direction characters, one line, cut to 100."""
    seen = (
        " " if one.isspace() else "" if unicodedata.category(one)[0] == "C" else one for one in _UNSEEN.sub("", text)
    )
    return " ".join("".join(seen).split())[:MOST_NAME].strip()


def web_address(text: str) -> str:
    """An https URL that may be linked to or fetched; empty for anything else, which is left out rather than refused."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return ""
    return text if fine and _ASCII.fullmatch(text) else ""
