"""A form as a page draws it, filled in as a browser would post it."""

from html.parser import HTMLParser
from typing import Any

from django.test import Client


class Drawn(HTMLParser):
    """The fields of the form of that id, by name: everything that a browser sends when nothing is touched."""

    def __init__(self, page: str, form: str):
        super().__init__(convert_charrefs=True)
        self.data: dict[str, list[str]] = {}
        self.offered: dict[str, list[str]] = {}
        self._form, self._inside = form, False
        self._area = self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = said.get("id") == self._form
        if not self._inside:
            return
        name = said.get("name", "")
        if tag == "input" and said.get("type") in ("checkbox", "radio"):
            self.offered.setdefault(name, []).append(said.get("value", "on"))
            if "checked" in said:
                self.data.setdefault(name, []).append(said.get("value", "on"))
        elif tag == "input" and name:
            self.data.setdefault(name, []).append(said.get("value", ""))
        elif tag == "textarea":
            self._area, self.data[name] = name, [""]
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            self.offered.setdefault(self._select, []).append(said.get("value", ""))
            if "selected" in said or self._select not in self.data:
                self.data[self._select] = [said.get("value", "")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area:
            self.data[self._area] = [self.data[self._area][0].removeprefix("\n").replace("\n", "\r\n")]
            self._area = ""
        elif tag == "select":
            self._select = ""
        elif tag == "form":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._area:
            self.data[self._area][0] += data


def drawn(browser: Client, url: str, form: str = "rule_form") -> Drawn:
    response = browser.get(url)
    assert response.status_code == 200, (url, response.status_code)
    return Drawn(response.content.decode(), form)


def filled(browser: Client, url: str, **typed: Any) -> dict[str, Any]:
    """What a browser posts of the form of a rule once these fields are typed in; lists tick boxes."""
    data: dict[str, Any] = dict(drawn(browser, url).data)
    return data | {name: value if isinstance(value, list) else [value] for name, value in typed.items()}
