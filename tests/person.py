"""A person with a browser, without the browser: signs in, reads the consent page, answers it. Speaks plain HTTP.

For the sake of every test that needs a token from a hub that runs; within one process `tests.access.asking` is shorter,
and where nobody need be asked `tests.tokens`. What only a real browser shows (keyboard, narrow screens, the content
security policy) is tested in one.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

_MOST_HOPS = 12


@dataclass
class Box:
    """A checkbox or a radio button: what it posts, and whether it is set. A fixed one posts nothing."""

    name: str
    value: str
    radio: bool
    ticked: bool
    fixed: bool


@dataclass
class Form:
    """A form as it was drawn. `texts` are its fields, hidden ones included; `buttons` what each button would add."""

    action: str
    texts: dict[str, str] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    def tick(self, name: str, values: Collection[str]) -> None:
        """Leave exactly these ticked, as far as the page lets one."""
        offered = {box.value for box in self.boxes if box.name == name}
        assert set(values) <= offered, f"{name} offers {sorted(offered)}, not {sorted(set(values) - offered)}"
        for box in self.boxes:
            if box.name == name and not box.fixed:
                box.ticked = box.value in values

    def choose(self, scopes: Collection[str] | None, span: str | None) -> None:
        """On a consent page: exactly these scopes, and for how long; None for what it proposes."""
        for name, values in (("scopes", scopes), ("span", None if span is None else [span])):
            if values is not None:
                self.tick(name, values)

    def offers(self, name: str) -> dict[str, bool]:
        """What can be ticked, and what is."""
        return {box.value: box.ticked for box in self.boxes if box.name == name}

    def data(self, **button: str) -> dict[str, str | list[str]]:
        """What a browser would post when this button is pressed."""
        assert set(button.items()) <= set(self.buttons), (button, self.buttons)
        posted: dict[str, list[str]] = {}
        for box in self.boxes:
            if box.ticked and not box.fixed:
                posted.setdefault(box.name, []).append(box.value)
        return {**self.texts, **posted, **button}


class _Forms(HTMLParser):
    """Every form of a page that posts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("method", "get").lower() == "post":
            self._open = Form(action=given.get("action", ""))
            self.found.append(self._open)
        elif tag in {"input", "button"} and self._open is not None and "name" in given:
            self._add(self._open, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    @staticmethod
    def _add(form: Form, tag: str, given: dict[str, str]) -> None:
        kind = given.get("type", "submit" if tag == "button" else "text")
        if kind in {"checkbox", "radio"}:
            box = Box(given["name"], given.get("value", "on"), kind == "radio", "checked" in given, "disabled" in given)
            form.boxes.append(box)
        elif kind == "submit":
            form.buttons.append((given["name"], given.get("value", "")))
        else:
            form.texts[given["name"]] = given.get("value", "")


def forms(page: str) -> list[Form]:
    """The forms of a page that post, in its order."""
    parser = _Forms()
    parser.feed(page)
    return parser.found


def form_with(page: str, name: str) -> Form | None:
    """The form that has a field or a button of this name."""
    for form in forms(page):
        if name in form.texts or name in {one for one, _ in form.buttons} or form.offers(name):
            return form
    return None


def consent_form(page: str, which: object = "") -> Form:
    """The form of a consent page, which this must be; `which` is told where it is not."""
    form = form_with(page, "decision")
    assert form is not None, f"no consent page {which}: {words(page)}"
    return form


def answer_of(location: str) -> dict[str, str]:
    """The parameters of an authorization response; each must be there once."""
    found = parse_qs(urlsplit(location).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), location
    return {name: values[0] for name, values in found.items()}


class Person:
    """Somebody with a cookie jar. Not signed in until a page asks for it, as in life."""

    def __init__(self, base: str, username: str, password: str):
        self.base = base
        self.username = username
        self.password = password
        self.http = httpx2.Client(timeout=30, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def visit(
        self, url: str, *, scopes: Collection[str] | None = None, span: str | None = None, deny: bool = False
    ) -> str:
        """Open an authorization URL, sign in where that is asked, answer the consent page, and return the URL the
        host is answered at, which is not opened.

        scopes: exactly what to leave ticked; None for what the page proposes. span: hour, day, month or forever.
        """
        page = self.open(url)
        if page.is_redirect:
            return self.leads_to(page)
        form = consent_form(page.text, page)
        form.choose(scopes, span)
        answered = self.submit(page, form, decision="deny" if deny else "allow")
        assert answered.is_redirect, f"the consent was answered with {answered.status_code}: {words(answered.text)}"
        return self.leads_to(answered)

    def open(self, url: str) -> httpx2.Response:
        """Get a page as a browser does, signing in on the way; stops at a redirect that leaves the hub."""
        response = self.http.get(urljoin(self.base, url))
        for _ in range(_MOST_HOPS):
            if response.is_redirect:
                if not self._stays(response):
                    return response
                response = self.http.get(self.leads_to(response))
            elif self._asks_to_sign_in(response):
                response = self._sign_in(response)
            else:
                return response
        raise AssertionError(f"{url} leads round in circles, lastly to {response.url}")

    def sign_in(self) -> None:
        """Sign in by the form, before any page asks."""
        response = self._sign_in(self.http.get(urljoin(self.base, "/accounts/login/")))
        assert response.is_redirect, words(response.text)

    def sign_out(self) -> None:
        """Forget every cookie, as a new browser would."""
        self.http.cookies.clear()

    def submit(self, page: httpx2.Response, form: Form, **button: str) -> httpx2.Response:
        """Press a button of a form on this page."""
        target = urljoin(str(page.url), form.action) if form.action else str(page.url)
        headers = {"origin": "{0.scheme}://{0.netloc}".format(urlsplit(target))}
        return self.http.post(target, data=form.data(**button), headers=headers)

    def leads_to(self, response: httpx2.Response) -> str:
        """Where a redirect leads, as an absolute URL."""
        return urljoin(str(response.url), response.headers["location"])

    def _stays(self, response: httpx2.Response) -> bool:
        return urlsplit(self.leads_to(response)).netloc == urlsplit(str(response.url)).netloc

    @staticmethod
    def _asks_to_sign_in(response: httpx2.Response) -> bool:
        form = form_with(response.text, "password")
        return form is not None and "login" in form.texts

    def _sign_in(self, page: httpx2.Response) -> httpx2.Response:
        form = form_with(page.text, "password")
        assert form is not None, f"no sign-in form at {page.url}: {words(page.text)}"
        form.texts |= {"login": self.username, "password": self.password}
        response = self.submit(page, form)
        assert response.is_redirect, f"{self.username} could not sign in: {words(response.text)}"
        return response


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text += data.split()


def words(page: str) -> str:
    """What a page says, on one line."""
    parser = _Words()
    parser.feed(page)
    return " ".join(parser.text)
