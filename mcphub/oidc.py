"""Going to an OpenID Connect provider and back, so that one that is slow or away costs the hub little."""

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import requests
from allauth.core.internal import ratelimit
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.providers.openid_connect import views
from django.db import connection
from django.http import HttpRequest, HttpResponse

from tenants.middleware import own_transactions

log = logging.getLogger(__name__)

SECONDS = 5.0
"""How long a provider may say nothing."""
KEPT_SECONDS = 600.0
"""How long its discovery document is good for."""

_DISCOVERY = "/.well-known/openid-configuration"
_NEEDED = {"issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"}

_kept: dict[str, tuple[float, requests.Response]] = {}

Failure = requests.RequestException
"""Raised for a provider that cannot be asked or answers nonsense; its text is about URLs and statuses only."""

View = Callable[[HttpRequest, str], HttpResponse]


class Session(requests.Session):
    """What asks a provider: holds no database connection meanwhile, and reads its discovery document now and then."""

    def send(self, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        """The answer. Raises Failure, also for a discovery document that lacks what is needed."""
        url = str(request.url)
        if not url.endswith(_DISCOVERY):
            return self._ask(request, **given)
        when, found = _kept.get(url, (0.0, None))
        if found is None or time.monotonic() - when > KEPT_SECONDS:
            found = self._ask(request, **given)
            found.raise_for_status()
            _check(found)
            _kept[url] = (time.monotonic(), found)
        return found

    def _ask(self, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        if not connection.in_atomic_block:
            connection.close()
        return super().send(request, **{**given, "timeout": SECONDS})


def _check(answer: requests.Response) -> None:
    """OpenID Connect Discovery 1.0 section 3, as far as the hub reads it."""
    document = answer.json()
    lacks = sorted(_NEEDED - document.keys()) if isinstance(document, dict) else ["everything"]
    if lacks:
        raise Failure(f"the discovery document lacks {', '.join(lacks)}")


def _answering(view: View) -> View:
    """A provider that cannot be asked is a page, not an error of the hub's."""

    @wraps(view)
    def answered(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            return view(request, provider_id)
        except Failure as problem:
            provider = get_adapter().get_provider(request, provider=provider_id)
            answer: HttpResponse = render_authentication_error(request, provider, exception=problem)
            return answer

    return answered


def _limited(view: View) -> View:
    """As often as the sign-in form may be sent."""

    @wraps(view)
    def limited(request: HttpRequest, provider_id: str) -> HttpResponse:
        full = ratelimit.consume_or_429(request, app="allauth.account", action="sign_in_with")
        return full or view(request, provider_id)

    return limited


# Both wait for the provider, so neither may hold a transaction. The way back takes a state that the way there gave.
login: View = own_transactions(_limited(_answering(views.login)))
callback: View = own_transactions(_answering(views.callback))
