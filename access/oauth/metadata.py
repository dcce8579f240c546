"""What the authorization server says of itself (RFC 8414, and OpenID discovery's path for clients that look there)."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from access.models import AuthMethod
from access.oauth.answers import endpoint

_KEPT = {"Cache-Control": "max-age=300"}
_ALL = [method.value for method in AuthMethod]
_CONFIDENTIAL = [method.value for method in AuthMethod if method is not AuthMethod.NONE]


@endpoint("GET", "HEAD")
def authorization_server(request: HttpRequest) -> HttpResponse:
    """RFC 8414 section 3."""
    return JsonResponse(_document(), headers=_KEPT)


@endpoint("GET", "HEAD")
def openid_configuration(request: HttpRequest) -> HttpResponse:
    """The same, with what OpenID Connect Discovery section 3 requires. The hub issues no ID tokens."""
    base = settings.BASE_URL
    added = {
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    return JsonResponse({**_document(), **added}, headers=_KEPT)


@endpoint("GET", "HEAD")
def jwks(request: HttpRequest) -> HttpResponse:
    """The keys that the hub signs with: none, its tokens are opaque."""
    return JsonResponse({"keys": []}, headers=_KEPT)


def _document() -> dict[str, Any]:
    """Without `scopes_supported`: scopes are the tenant's, and stand in the metadata of its endpoint (RFC 9728)."""
    base = settings.BASE_URL
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "registration_endpoint": f"{base}/register",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": _ALL,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
        "revocation_endpoint_auth_methods_supported": _ALL,
        "introspection_endpoint_auth_methods_supported": _CONFIDENTIAL,
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "service_documentation": f"{base}/",
    }
