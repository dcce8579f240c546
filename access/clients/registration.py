"""Dynamic client registration (RFC 7591), open to everybody, so that it gives away very little: a public client that
can only send people to the consent page, and that goes away when nobody uses it."""

import datetime
import secrets
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from access import refusals
from access.clients import metadata, throttle
from access.clients.metadata import Metadata, Unacceptable
from access.models import AuthMethod, Client
from access.oauth import answers
from audit import changes

UNUSED_FOR = datetime.timedelta(days=30)
"""How long a client lives that never exchanged a code."""
_GRANTS = ["authorization_code", "refresh_token"]
_HOUR = 3600.0


class _TooMany(Exception):
    """Registrations come too fast; the argument is the number of seconds to wait."""


@answers.endpoint("POST")
def register(request: HttpRequest) -> JsonResponse:
    """POST /register: JSON metadata in, the client as the hub took it out (201)."""
    address = answers.address_of(request)
    try:
        _count(f"register:{throttle.source(address)}", settings.CLIENT_REGISTRATIONS_PER_ADDRESS)
        asked = _asked(request)
        # Only now, so that nobody's nonsense keeps others out.
        _count("register", settings.CLIENT_REGISTRATIONS)
        client = _store(asked, address)
    except _TooMany as problem:
        return _slow_down(problem.args[0], address)
    except Unacceptable as problem:
        refusals.record(tenant_id=None, reason="registration_refused", address=address, detail={"why": str(problem)})
        return answers.error(problem.code, str(problem))
    return JsonResponse(_description(client, asked), status=201)


def _count(bucket: str, per_hour: int) -> None:
    """Count one of so many an hour. Raises _TooMany."""
    if wait := throttle.take(bucket, cost=_HOUR / per_hour, span=_HOUR):
        raise _TooMany(wait)


def _slow_down(wait: float, address: str) -> JsonResponse:
    refusals.record(tenant_id=None, reason="registration_throttled", address=address)
    seconds = int(wait) + 1
    says = f"Too many registrations. Try again in {seconds} seconds."
    answer = answers.error("temporarily_unavailable", says, status=429)
    answer["Retry-After"] = str(seconds)
    return answer


def _asked(request: HttpRequest) -> Metadata:
    body = request.read(metadata.MOST_BYTES + 1)
    if len(body) > metadata.MOST_BYTES:
        raise Unacceptable("invalid_client_metadata", f"The metadata is larger than {metadata.MOST_BYTES} bytes.")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unacceptable(
            "invalid_client_metadata", "The body must be a JSON object (RFC 7591 section 3.1)."
        ) from None
    asked = metadata.parse(content)
    method = asked.token_endpoint_auth_method
    if method not in ("", AuthMethod.NONE) and not metadata.is_secret_method(method):
        raise Unacceptable(
            "invalid_client_metadata",
            "Who registers is a public client (token_endpoint_auth_method none). "
            "A client that signs needs a metadata document as its client_id, or an admin who makes it.",
        )
    return asked


@transaction.atomic
def _store(asked: Metadata, address: str) -> Client:
    client = Client(
        client_id=secrets.token_urlsafe(24),
        client_secret="",
        hash_client_secret=False,
        client_type=Client.CLIENT_PUBLIC,
        authorization_grant_type=Client.GRANT_AUTHORIZATION_CODE,
        registration_source=Client.RegistrationSource.DCR,
        name=asked.name,
        redirect_uris=" ".join(asked.redirect_uris),
        client_uri=metadata.web_address(asked.client_uri),
        logo_uri=metadata.web_address(asked.logo_uri),
        lapses_at=timezone.now() + UNUSED_FOR,
    )
    client.save()
    changes.record(
        tenant_id=refusals.PLATFORM,
        actor="system",
        verb="registered",
        subject=client,
        after=changes.snapshot(client),
        note=f"from {address}",
    )
    return client


def _description(client: Client, asked: Metadata) -> dict[str, Any]:
    """What was registered (RFC 7591 section 3.2.1). Who asked for a secret reads here that there is none; `scope` is
    said back and binds nothing, so that a later step-up can go beyond it."""
    optional = {"scope": asked.scope, "client_uri": client.client_uri, "logo_uri": client.logo_uri}
    return {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created.timestamp()),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris.split(),
        "grant_types": _GRANTS,
        "response_types": ["code"],
        "token_endpoint_auth_method": AuthMethod.NONE.value,
        **{name: value for name, value in optional.items() if value},
    }
