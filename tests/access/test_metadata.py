"""What the authorization server says of itself, at exactly the paths where it is looked for."""

import pytest
from django.conf import settings
from django.test import Client as Browser

PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/.well-known/jwks.json")


@pytest.mark.parametrize("path", PATHS[:2])
def test_the_metadata_says_what_the_hub_does(path: str) -> None:
    answer = Browser().get(path)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    document = answer.json()
    base = settings.BASE_URL
    assert document["issuer"] == base
    assert document["authorization_endpoint"] == f"{base}/authorize"
    assert document["token_endpoint"] == f"{base}/token"
    assert document["registration_endpoint"] == f"{base}/register"
    assert document["revocation_endpoint"] == f"{base}/revoke"
    assert document["introspection_endpoint"] == f"{base}/introspect"
    assert document["response_types_supported"] == ["code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["client_id_metadata_document_supported"] is True
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]
    assert "scopes_supported" not in document


def test_the_openid_path_has_what_its_readers_require() -> None:
    document = Browser().get(PATHS[1]).json()
    assert document["jwks_uri"] == f"{settings.BASE_URL}/.well-known/jwks.json"
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert Browser().get(PATHS[2]).json() == {"keys": []}


@pytest.mark.parametrize("path", PATHS)
def test_it_is_kept_a_while_and_read_by_browsers(path: str) -> None:
    answer = Browser().get(path)
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cache-Control"] == "max-age=300"
    head = Browser().head(path)
    assert (head.status_code, head.content) == (200, b"")
    options = Browser().options(path)
    assert (options.status_code, options["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, OPTIONS")
    assert Browser().post(path).status_code == 405


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("suffix", ["/", "/evil", "/t/acme/mcp", "/https://evil.example"])
def test_nothing_after_the_name_is_reflected(path: str, suffix: str) -> None:
    """RFC 8414 section 3.3: a document at such a path would be of another issuer."""
    assert Browser().get(path + suffix).status_code == 404
