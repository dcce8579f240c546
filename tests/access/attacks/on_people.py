"""Attacks on people and their pages, a row for each: redirects, consent, documents that lie, names that imitate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from django.contrib.sessions.backends.db import SessionStore

from tests.access.attacks.scene import Scene, Table
from tests.access.desk import READ, WRITE
from tests.access.program import Program
from tests.documents import Answer
from tests.person import consent_form, words

APP: Final = "https://app.example.com/callback"
ATTACKS: Final = Table()
attack = ATTACKS.row


# Redirects


def _registers(uri: str) -> Callable[[Scene], str]:
    return lambda scene: scene.register(APP, uri)


def _answered_at(uri: str) -> Callable[[Scene], str]:
    """The error, for a client that registered APP and asks for the answer elsewhere, also with something else wrong."""

    def does(scene: Scene) -> str:
        program = scene.program(APP)
        assert scene.authorize(program, redirect_uri=uri, resource=None) == "400", "no open redirect on an error either"
        return scene.authorize(program, redirect_uri=uri)

    return does


for trick, uri in {
    "a user before the host": "https://app.example.com@evil.example/callback",
    "a fragment": "https://app.example.com/callback#here",
    "a script": "javascript:alert(1)//app.example.com",
    "a document in the URI": "data:text/html,app.example.com",
    "upper case": "https://APP.example.com/callback",
    "a wildcard": "https://*.example.com/callback",
    "a backslash": "https://app.example.com\\@evil.example/callback",
    "a line break": "https://app.example.com/call\nback",
    "a look-alike of loopback": "http://localhost.evil.example/callback",
    "loopback by another name": "http://127.0.0.1.evil.example/callback",
}.items():
    attack(
        f"redirect: registers {trick}", error="invalid_redirect_uri", reason="registration_refused", refused_at="hub"
    )(_registers(uri))

for trick, uri in {
    "a user before the host": "https://app.example.com@evil.example/callback",
    "a user of the host": "https://evil@app.example.com/callback",
    "a fragment": f"{APP}#here",
    "mixed case": "https://App.Example.com/callback",
    "mixed case in the scheme": "HTTPS://app.example.com/callback",
    "no scheme": "//evil.example/callback",
    "two slashes": "https://app.example.com//callback",
    "a longer host": "https://app.example.com.evil.example/callback",
    "a longer path": f"{APP}/more",
    "dots": "https://app.example.com/x/../callback",
    "an added query": f"{APP}?next=https://evil.example",
    "a port": "https://app.example.com:8443/callback",
    "plain http": "http://app.example.com/callback",
    "a line break at the end": f"{APP}\n",
    "an encoded slash": "https://app.example.com/%63allback",
    "somewhere else": "https://evil.example/callback",
}.items():
    attack(f"redirect: asks for the answer at {trick}", error="400", reason="redirect_mismatch")(_answered_at(uri))


@attack("redirect: an unknown client", error="400", reason="unknown_client")
def _(scene: Scene) -> str:
    with Program(scene.base, "nobody-knows-me", "https://evil.example/cb") as program:
        return scene.authorize(program)


# The consent page


def _posts(**changed: str | None) -> Callable[[Scene], str]:
    """uma's browser is made to post the form with these fields changed or left out."""

    def does(scene: Scene) -> str:
        page = scene.uma.open(scene.program().ask(scene.cast.acme.slug).url)
        form = consent_form(page.text)
        for name, value in changed.items():
            form.texts.pop(name)
            form.texts |= {} if value is None else {name: value}
        answered = scene.uma.submit(page, form, decision="allow")
        assert scene.consents() == []
        return str(answered.status_code)

    return does


attack("consent: the form without its token", error="403", reason="csrf", refused_at="hub")(
    _posts(csrfmiddlewaretoken=None)
)
attack("consent: the form with a token of somebody else", error="403", reason="csrf", refused_at="hub")(
    _posts(csrfmiddlewaretoken="x" * 64)
)
attack("consent: a yes to something that was not shown", error="409", reason=None)(_posts(shown="0" * 64))


@attack("consent: the form posted by another site", error="403", reason="csrf", refused_at="hub")
def _(scene: Scene) -> str:
    page = scene.uma.open(scene.program().ask(scene.cast.acme.slug).url)
    form = consent_form(page.text)
    headers = {"origin": "https://evil.example"}
    answered = scene.uma.http.post(str(page.url), data=form.data(decision="allow"), headers=headers)
    assert scene.consents() == []
    return str(answered.status_code)


@attack("consent: a scope that was not offered", error="409", reason="scope_not_offered")
def _(scene: Scene) -> str:
    page = scene.uma.open(scene.program().ask(scene.cast.acme.slug, READ).url)
    form = consent_form(page.text)
    data = form.data(decision="allow") | {"scopes": [READ, WRITE]}
    answered = scene.uma.http.post(str(page.url), data=data, headers={"origin": scene.base})
    assert scene.consents() == []
    return str(answered.status_code)


@attack("consent: framed by another site, to be clicked through", error="200", reason=None)
def _(scene: Scene) -> str:
    page = scene.uma.open(scene.program().ask(scene.cast.acme.slug).url)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    return str(page.status_code)


@attack("consent: of somebody who is no member", error="403", reason="not_a_member", refused_at="beta")
def _(scene: Scene) -> str:
    return scene.authorize(scene.program(), resource=scene.resource(scene.cast.beta))


@attack("consent: a session that the attacker had planted before the person signed in", error="200", reason=None)
def _(scene: Scene) -> str:
    planted = SessionStore()
    planted.create()
    planted_key = str(planted.session_key)
    scene.uma.http.cookies.set("sessionid", planted_key, domain=urlsplit(scene.base).hostname or "")
    page = scene.uma.open(scene.program().ask(scene.cast.acme.slug).url)
    consent_form(page.text)
    assert planted_key not in [cookie.value for cookie in scene.uma.http.cookies.jar]
    assert "_auth_user_id" not in SessionStore(planted_key).load()
    return str(page.status_code)


# Metadata documents


@attack("document: redirects", error="400", reason="document_redirects", refused_at="hub")
def _(scene: Scene) -> str:
    good = scene.documents.client(f"{scene.path()}.good")
    url = scene.documents.serve(scene.path(), Answer(b"", status=302, headers={"Location": good}))
    return str(scene.page_for(url).status_code)


@attack("document: is huge", error="400", reason="document_too_large", refused_at="hub")
def _(scene: Scene) -> str:
    url = scene.documents.client(scene.path(), client_uri=f"https://a.example/{'x' * 20_000}")
    return str(scene.page_for(url).status_code)


@attack("document: is slow", error="400", reason="document_slow", refused_at="hub")
def _(scene: Scene) -> str:
    gate = threading.Event()
    try:
        return str(scene.page_for(scene.documents.serve(scene.path(), Answer(b"{}", gate=gate))).status_code)
    finally:
        gate.set()


@attack("document: lies at a private address", error="400", reason="document_blocked", refused_at="hub")
def _(scene: Scene) -> str:
    url = scene.documents.client(scene.path()).replace("localhost", "127.0.0.1")
    page = scene.page_for(url)
    assert scene.documents.count(scene.path()) == 0
    return str(page.status_code)


@attack("document: lies about its id", error="400", reason="document_wrong_id", refused_at="hub")
def _(scene: Scene) -> str:
    url = scene.documents.client(scene.path(), client_id="https://claude.ai/oauth/client.json")
    return str(scene.page_for(url).status_code)


@attack("document: brings its own secret", error="400", reason="document_has_secret", refused_at="hub")
def _(scene: Scene) -> str:
    return str(scene.page_for(scene.documents.client(scene.path(), client_secret="guess me")).status_code)


@attack("document: a URL that reads as two", error="400", reason="document_url", refused_at="hub")
def _(scene: Scene) -> str:
    url = scene.documents.client(scene.path()).replace("https://", "https://claude.ai@")
    return str(scene.page_for(url).status_code)


# Look-alikes


@attack("look-alike: a document that calls itself Claude from another domain", error="200", reason=None)
def _(scene: Scene) -> str:
    page = scene.page_for(scene.documents.client(scene.path(), client_name="Сlaude"))  # noqa: RUF001 - Cyrillic
    assert "This is not Claude." in words(page.text)
    return str(page.status_code)


@attack("look-alike: a program that calls itself Claude and is nobody's", error="200", reason=None)
def _(scene: Scene) -> str:
    program = scene.registered(client_name="Claude Code")
    page = scene.uma.open(program.ask(scene.cast.acme.slug).url)
    assert "A program on your computer" in words(page.text)
    return str(page.status_code)
