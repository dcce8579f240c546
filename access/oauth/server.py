"""The toolkit's grants, put together for this hub: authorization code with S256, refresh, client credentials.

What is not in the lists below does not exist: no implicit or password grant, no device flow, no plain PKCE
(OAuth 2.1 sections 4 and 10).
"""

import re
from typing import TYPE_CHECKING, Any

from oauthlib.oauth2.rfc6749.endpoints.authorization import AuthorizationEndpoint
from oauthlib.oauth2.rfc6749.endpoints.token import TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types.authorization_code import AuthorizationCodeGrant, code_challenge_method_s256
from oauthlib.oauth2.rfc6749.grant_types.client_credentials import ClientCredentialsGrant
from oauthlib.oauth2.rfc6749.grant_types.refresh_token import RefreshTokenGrant
from oauthlib.oauth2.rfc6749.tokens import BearerToken

from access.oauth import generators

if TYPE_CHECKING:
    from access.oauth.validator import HubValidator

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class HubServer(AuthorizationEndpoint, TokenEndpoint):
    """One for each request, as its validator is: what the validator learns on the way belongs to that request."""

    def __init__(self, validator: "HubValidator", **_: Any) -> None:
        code = AuthorizationCodeGrant(
            validator, pre_auth=[validator.check_resource], post_auth=[validator.check_challenge]
        )
        code._code_challenge_methods = {"S256": _proves}
        bearer = BearerToken(validator, generators.access_token, validator.lifetime, generators.refresh_token)
        AuthorizationEndpoint.__init__(
            self, default_response_type="code", default_token_type=bearer, response_types={"code": code}
        )
        TokenEndpoint.__init__(
            self,
            default_grant_type="authorization_code",
            default_token_type=bearer,
            grant_types={
                "authorization_code": code,
                "refresh_token": RefreshTokenGrant(validator, post_token=[validator.close_scopes]),
                "client_credentials": ClientCredentialsGrant(validator, post_token=[validator.check_machine]),
            },
        )


def _proves(verifier: str, challenge: str) -> bool:
    """RFC 7636 section 4.6, only for verifiers that section 4.1 allows."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    return bool(code_challenge_method_s256(verifier, challenge))
