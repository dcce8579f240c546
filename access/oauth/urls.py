"""Where programs find the authorization server. To the letter: no trailing slash, nothing after a well-known name."""

from django.urls import URLPattern, path

from access.oauth import endpoints, metadata

urlpatterns: list[URLPattern] = [
    path("token", endpoints.token, name="token"),
    path("revoke", endpoints.revoke, name="revoke"),
    path("introspect", endpoints.introspect, name="introspect"),
    path(".well-known/oauth-authorization-server", metadata.authorization_server, name="oauth-metadata"),
    path(".well-known/openid-configuration", metadata.openid_configuration, name="openid-metadata"),
    path(".well-known/jwks.json", metadata.jwks, name="jwks"),
]
