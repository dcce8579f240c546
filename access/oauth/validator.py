"""What the toolkit asks while it works on one request: clients, scopes, codes, tokens.

The toolkit's own answers are for other promises: it keeps codes in clear, forgets a code once it is used, takes the
audience from the token request, and gives the last tokens again as blanks. Each method here says which it replaces by
being here; `access.oauth.endpoints` has proven the client before any of them is asked.
"""

import datetime
import re
import uuid
from collections.abc import Sequence
from typing import Any, Never

from django.db.models import Q
from django.utils import timezone
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749 import errors

from access.models import AccessToken, Client, Consent, Grant, RefreshToken, digest_of
from access.oauth import credentials, families, redirects, rotation, standing
from tenants import addresses, queries
from tenants.models import Member
from tenants.scopes import expand, reachable

HOUR = datetime.timedelta(hours=1)

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class HubValidator(OAuth2Validator):
    """Lives for one request, inside the scope of the tenant that the request is about.

    client: the one that has proven itself (token endpoint); None at the authorization endpoint, where none has.
    resources: every `resource` of a token request. Afterwards `reason` says why it was refused, where OAuth's own code
    says less, and `member` for whom.
    """

    def __init__(self, *, client: Client | None = None, resources: Sequence[str] = ()) -> None:
        self.reason = ""
        self.member: Member | None = None
        self._client = client
        self._resources = resources
        self._row: Grant | RefreshToken | None = None
        self._consent: Consent | None = None
        self._given_before: RefreshToken | None = None
        self._tenant_id: int | None = None

    # The client

    def _load_application(self, client_id: str, request: Any) -> Client | None:
        """From the database only; documents are fetched before, by access.clients."""
        if not credentials.could_be(client_id):
            return None
        client = Client.objects.filter(client_id=client_id).first()
        request.client = client if client is not None and client.live and not client.machine else None
        return request.client  # type: ignore[no-any-return]

    def client_authentication_required(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        return True

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        request.client = self._client
        return self._client is not None

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return client.machine == (grant_type == "client_credentials")

    # The authorization request

    def validate_response_type(
        self, client_id: str, response_type: str, client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if response_type != "code":
            raise errors.UnsupportedResponseTypeError(request=request)
        return True

    def validate_redirect_uri(self, client_id: str, redirect_uri: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(request.client.redirect_uri_allowed(redirect_uri))

    def get_default_redirect_uri(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> str | None:
        """The one of the code, if that is exchanged: under PKCE it need not be said again (OAuth 2.1 section 10.2).

        Else the only one registered, unless it is a loopback's, whose port has to be told.
        """
        if isinstance(self._row, Grant):
            return self._row.redirect_uri
        uris = request.client.redirect_uris.split()
        return uris[0] if len(uris) == 1 and not redirects.loopback(uris[0]) else None

    def check_resource(self, request: Any) -> dict[str, Any]:
        """Exactly one `resource`, exactly a known tenant's endpoint (RFC 8707 section 2)."""
        named = [value for name, value in request.uri_query_params if name == "resource"]
        slug = addresses.slug_of(named[0]) if len(named) == 1 else None
        self._tenant_id = queries.tenant_id_of(slug) if slug else None
        if self._tenant_id is None or request.client.tenant_id not in {None, self._tenant_id}:
            raise _invalid_target(request, "Name exactly one resource: the URL of a tenant's endpoint, to the letter.")
        if standing.elsewhere(self._tenant_id):
            raise _invalid_target(request, "Tokens for this endpoint come from the server its metadata names.")
        return {"resource": named[0], "tenant_id": self._tenant_id}

    def check_challenge(self, request: Any) -> dict[str, Any]:
        """RFC 7636 section 4.2: what S256 makes, and nothing else."""
        if not _CHALLENGE.fullmatch(request.code_challenge):
            raise errors.InvalidRequestError(
                description="The code_challenge is not the base64url of a SHA-256.", request=request
            )
        return {}

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        return True

    def get_default_scopes(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> list[str]:
        """Without `scope` the consent page offers the working set; a machine gets all it may have."""
        return sorted(self._within_reach(self._client)) if self._client is not None else []

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """What is beyond the tenant, or a machine, is left out (RFC 6749 section 3.3), and refused when it is all.

        Programs ask for whatever the challenge named, which is the tenant's working set and not theirs.
        """
        asked = [scope for scope in scopes if scope]
        if self._client is not None:
            known = self._within_reach(self._client)
        else:
            known = frozenset(queries.scope_rules(self._tenant_id) if self._tenant_id is not None else ())
        request.scopes = [scope for scope in asked if scope in known]
        return bool(request.scopes) or not asked

    @staticmethod
    def _within_reach(machine: Client) -> frozenset[str]:
        """What a machine may have: its listed scopes that the tenant has and its member's role may hold."""
        if machine.tenant_id is None or machine.member is None:
            return frozenset()
        return frozenset(machine.scopes) & reachable(machine.member.role, queries.scope_rules(machine.tenant_id))

    def _create_authorization_code(self, request: Any, code: Any, expires: Any = None) -> Never:
        raise RuntimeError("codes are issued by access.oauth.authorization, bound to a consent and kept as a digest")

    # A code is exchanged

    def validate_code(self, client_id: str, code: str, client: Client, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Take the code. From here on it is spent, also when the rest of the request turns out to be wrong."""
        mine = Grant.objects.filter(code=digest_of(code), application=client)
        consent_id = mine.values_list("consent_id", flat=True).first()
        consent = families.lock(consent_id) if consent_id is not None else None
        grant = mine.select_for_update().first()
        if grant is None or consent is None:
            return False
        self._row, self._consent, self.member = grant, consent, consent.member
        if grant.used_at is not None:
            self.reason = "code_replayed"
            families.revoke_family(grant.token_family)
            return False
        Grant.objects.filter(pk=grant.pk).update(used_at=timezone.now())
        if grant.expires <= timezone.now():
            self.reason = "code_expired"
            return False
        request.scopes = grant.scope.split()
        return self._stands(request, grant, consent)

    def get_code_challenge(self, code: str, request: Any) -> str:
        self.reason = "pkce_failed"
        return self._grant.code_challenge

    def get_code_challenge_method(self, code: str, request: Any) -> str:
        return self._grant.code_challenge_method

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """RFC 6749 section 5.2 calls a wrong one an invalid grant."""
        if redirect_uri != self._grant.redirect_uri:
            self.reason = "redirect_mismatch"
            raise errors.InvalidGrantError(
                description="The redirect_uri is not the one of the authorization request.", request=request
            )
        self.reason = ""
        return True

    def invalidate_authorization_code(self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any) -> None:
        """Done when it was taken."""

    @property
    def _grant(self) -> Grant:
        assert isinstance(self._row, Grant)  # noqa: S101 - the toolkit validates the code first
        return self._row

    # A refresh token is exchanged

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """A live one, or one whose answer may be given again; a replay ends the family."""
        taken = rotation.take(refresh_token, client)
        if taken is None:
            return False
        self._row, self._consent = row, consent = taken
        self.member = consent.member
        if not self._stands(request, row, consent):
            return False
        if row.revoked is None:
            return True
        self._given_before = rotation.given_before(row, refresh_token)
        if self._given_before is None:
            self.reason = "refresh_replayed" if families.revoke_family(row.token_family) else "token_revoked"
        return self._given_before is not None

    def get_original_scopes(self, refresh_token: str, request: Any, *args: Any, **kwargs: Any) -> list[str]:
        """What was granted, however narrow the last access token was (RFC 6749 section 6)."""
        assert isinstance(self._row, RefreshToken)  # noqa: S101 - the toolkit validates the token first
        return self._row.scope.split()

    def close_scopes(self, request: Any) -> None:
        """A narrower token gets what its scopes imply, as far as that was granted: nothing is added at the door."""
        assert self._row is not None  # noqa: S101 - the toolkit validates the token first
        meant = expand(request.scopes, queries.scope_rules(self._row.tenant_id))
        request.scopes = [scope for scope in self._row.scope.split() if scope in meant]

    def rotate_refresh_token(self, request: Any) -> bool:
        return True

    def _stands(self, request: Any, row: Grant | RefreshToken, consent: Consent) -> bool:
        """Whether the grant still holds and is for the resource that is named now."""
        self.reason = standing.why_no_more(consent) or ""
        if not self.reason and row.until is not None and row.until <= timezone.now():
            self.reason = "consent_expired"
        if self.reason:
            return False
        self._check_audience(request, consent.tenant_id, row.resource)
        return True

    def _check_audience(self, request: Any, tenant_id: int, granted: list[str]) -> None:
        """RFC 8707 section 2.2: the audience was settled before; naming another is an error, not a wish."""
        if any([named] != granted for named in self._resources):
            raise _invalid_target(request, "This grant is for another resource.")
        if standing.elsewhere(tenant_id):
            raise _invalid_target(request, "Tokens for this endpoint come from the server its metadata names.")

    # A machine asks for itself

    def check_machine(self, request: Any) -> None:
        """It and the member it acts as must be in good standing, and `resource` the tenant's own."""
        self.member = request.client.member
        self.reason = standing.why_not(request.client, request.client.member) or ""
        if self.reason:
            raise errors.InvalidGrantError(request=request)
        tenant = request.client.tenant
        self._check_audience(request, tenant.pk, [addresses.resource(tenant.slug)])

    # Tokens are made and kept

    def lifetime(self, request: Any) -> int:
        """Seconds an access token lives: an hour, and never longer than the consent."""
        now = timezone.now()
        if self._given_before is not None and self._given_before.access_token is not None:
            ends = self._given_before.access_token.expires
        else:
            ends = min([now + HOUR, *([until] if (until := self._until()) else [])])
        return max(0, int((ends - now).total_seconds()))

    def _until(self) -> datetime.datetime | None:
        """When everything that comes of this grant ends; None while it is not revoked."""
        given = [one.until for one in (self._row, self._consent) if one is not None and one.until is not None]
        return min(given, default=None)

    def _save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        """Keep what is about to be answered, as digests; or, for an answer given again, change nothing."""
        if self._given_before is not None and self._given_before.access_token is not None:
            token["scope"] = self._given_before.access_token.scope
            return
        bound = self._bound(request)
        access = AccessToken(
            scope=token["scope"], expires=timezone.now() + datetime.timedelta(seconds=token["expires_in"]), **bound
        )
        self._set_token_value(access, token["access_token"])
        access.save()
        if "refresh_token" in token and self._only_an_hour():
            del token["refresh_token"]
        if "refresh_token" in token:
            self._keep_refresh_token(token["refresh_token"], access, bound)
        _mark_used(request.client)

    def _keep_refresh_token(self, secret: str, access: AccessToken, bound: dict[str, Any]) -> None:
        assert self._row is not None  # noqa: S101 - a machine gets none
        if isinstance(self._row, RefreshToken):
            rotation.supersede(self._row)
        refresh = RefreshToken(access_token=access, scope=self._row.scope, **bound)
        self._set_token_value(refresh, secret)
        refresh.save()

    def _bound(self, request: Any) -> dict[str, Any]:
        """What both rows have in common: whose they are, for which resource, and what they fall with."""
        if self._row is None:
            return self._bound_machine(request.client)
        return {
            "application": request.client,
            "user_id": self._row.user_id,
            "tenant_id": self._row.tenant_id,
            "member_id": self._row.member_id,
            "consent_id": self._row.consent_id,
            "token_family": self._row.token_family,
            "until": self._until(),
            "resource": self._row.resource,
        }

    @staticmethod
    def _bound_machine(client: Client) -> dict[str, Any]:
        assert client.tenant is not None  # noqa: S101 - a constraint of the table
        assert client.member is not None  # noqa: S101
        return {
            "application": client,
            "user_id": client.member.user_id,
            "tenant_id": client.tenant_id,
            "member_id": client.member_id,
            "token_family": uuid.uuid4(),
            "resource": [addresses.resource(client.tenant.slug)],
        }

    def _only_an_hour(self) -> bool:
        """Whether the access token outlives the consent anyway."""
        consent = self._consent
        return consent is not None and consent.until is not None and consent.until - consent.given_at <= HOUR

    # Not at this server

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        """The hub's door is access.admit."""
        return False

    def validate_user(
        self, username: str, password: str, client: Client, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """There is no password grant."""
        return False


def _invalid_target(request: Any, description: str) -> errors.CustomOAuth2Error:
    return errors.CustomOAuth2Error(error="invalid_target", description=description, request=request)


def _mark_used(client: Client) -> None:
    """A client that got a token stays. Written at most hourly, and not while somebody else holds the row."""
    now = timezone.now()
    stale = Q(used_at=None) | Q(used_at__lt=now - HOUR) | Q(lapses_at__isnull=False)
    free = Client.objects.select_for_update(skip_locked=True, no_key=True).filter(stale, pk=client.pk)
    if free.values_list("pk").first():
        Client.objects.filter(pk=client.pk).update(used_at=now, lapses_at=None)
