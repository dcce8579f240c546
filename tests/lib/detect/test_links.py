"""Links and active content: which hosts are meant, what runs or loads something, and what is harmless."""
# ruff: noqa: RUF001 - looking alike is what they are here for

import json

import pytest

from lib.detect import active, links

ALLOWED = links.allowing(["acme.example", "*.acme.example", "bücher.example"])
OUTSIDE = [
    "https://evil.example/x",
    "http://evil.example",
    "HTTPS://EVIL.EXAMPLE/",
    "https://acme.example@evil.example/",
    "https://acme.example:443@evil.example/",
    "https:\\\\evil.example",
    "https:///evil.example/",
    "https://evilacme.example",
    "https://acme.example.evil.example/",
    "https://аcme.example/",
    "www.evil.example/x",
    "ftp://evil.example/x",
    "https://127.0.0.1:8080/",
    "http://[2001:db8::9]/x",
    "https:evil.example/x",
    "https&#58;//evil.example/x",
    "https&colon;&sol;&sol;evil.example/x",
    "".join(f"&#{ord(char)};" for char in "https://evil.example") + "/x",
]
TARGETS_OUTSIDE = [
    "//evil.example/?d=1",
    "////evil.example/",
    "/\\evil.example",
    "https:evil.example/x",
    "https&#58;//evil.example/",
    "h&#116;tps://evil.example/",
    "&#x2F;&#47;evil.example",
    "mailto:anna@evil.example?body=x",
    "mailto:anna@acme.example?bcc=mallory%40evil.example",
    "slack://channel?team=T1",
    "slack://?team=T1",
    "vscode:extension/evil",
]
TARGETS_INSIDE = [
    "/guide",
    "#top",
    "?page=2&amp;sort=name",
    "../images/a.png",
    "//cdn.acme.example/x",
    "https:acme.example/x",
    "https&#58;//acme.example/",
    "mailto:anna@acme.example?subject=x",
    "tel:+49301234567",
    "cid:logo@mail.example",
    "data:image/png;base64,AAAA",
]
INSIDE = [
    "https://acme.example",
    "https://ACME.example.:8443/x?y=1#z",
    "http://cdn.acme.example/a.png",
    "https://user@acme.example/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "at 10:30, http is a protocol",
    "C:\\Users\\anna",
    "http:server.port",
]
ACTIVE = {
    "a script": ("a <script>alert(1)</script> b", "a [active content removed] b"),
    "a script in capitals": ("<SCRIPT SRC=x></SCRIPT>", "[active content removed]"),
    "a script that nothing closes": ("a <script>b", "a [active content removed]b"),
    "a frame": ("<iframe src=https://acme.example></iframe>", "[active content removed]"),
    "a handler": ("<b onclick='x()'>go</b>", "<b >go</b>"),
    "a handler in an image": ("<img src=x onerror=alert(1)>", "[image removed]"),
    "a drawing": ("<svg onload=alert(1)>", "[active content removed]"),
    "a form": ("<form action=/x><input name=p>go</form>", "go"),
    "a script for an address": ("<a href='javascript:alert(1)'>x</a>", "<a >x</a>"),
    "a disguised one": ("<a href='jav&#x61;script:alert(1)'>x</a>", "<a >x</a>"),
    "in Markdown": ("[x](javascript:alert(1))", "[x]([active content removed])"),
    "a page in a URL": ("data:text/html;base64,PHNjcmlwdD4= ok", "[active content removed] ok"),
    "an image of elsewhere": ("![logo](https://evil.example/p.png?d=1)", "[image removed: logo]"),
    "an image by reference": ("![a][r]\n\n[r]: //evil.example/x", "[image removed: a]\n\n[r]: //evil.example/x"),
    "an image in HTML": ('<img src="https://evil.example/p.png">', "[image removed]"),
    "a set of images": ('<img srcset="/a 1x, https://evil.example/p 2x">', "[image removed]"),
    "a background": ('<p style="background:url(//evil.example/x)">t</p>', "<p >t</p>"),
    "a refresh": ("<meta http-equiv=refresh content='0;url=//evil.example'>x", "x"),
}
HARMLESS = [
    "JavaScript: the good parts",
    "a < b and c > d, vector<int> x; if (a<b) then",
    "<p>Hello <b>you</b></p>",
    "on = yes, onboarding = done",
    "![x](data:image/png;base64,AAAA)",
    "![x](/local.png) ![y](https://cdn.acme.example/y.png)",
    '<img src="https://cdn.acme.example/a.png" alt="A > B">',
    "[docs](https://evil.example/docs)",
    "<https://evil.example>",
    "the form is on the scripted page",
]


@pytest.mark.parametrize("link", OUTSIDE)
def test_a_link_to_another_host_is_marked_or_taken_out(link: str) -> None:
    text = f"See {link}, please."
    assert links.leads_outside(text, ALLOWED)
    assert links.without_links(text, ALLOWED, mark=True) == (f"See {link} [outside link], please.", 1)
    shown, count = links.without_links(text, ALLOWED, mark=False)
    assert (count, shown.startswith("See [link removed: "), shown.endswith("], please.")) == (1, True, True)
    assert link not in shown


@pytest.mark.parametrize("link", INSIDE)
def test_a_link_to_an_allowed_host_stays(link: str) -> None:
    text = f"See {link}, please."
    assert not links.leads_outside(text, ALLOWED)
    assert links.without_links(text, ALLOWED, mark=False) == (text, 0)


WRITTEN = ["[x]({})", "[x](<{}>)", "<a class=y href='{}'>x</a>", '<a href = "{}">x</a>', "<a href={}>x</a>"]
"""Where a link has a target."""


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("target", TARGETS_OUTSIDE)
def test_a_target_that_leads_outside_is_marked_or_taken_out(target: str, written: str) -> None:
    text = f"See {written.format(target)}, please."
    assert links.leads_outside(text, ALLOWED)
    assert links.leads_outside(json.dumps({"a": [text]}), ALLOWED)
    assert links.without_links(text, ALLOWED, mark=True) == (text.replace(target, f"{target} [outside link]"), 1)
    shown, count = links.without_links(text, ALLOWED, mark=False)
    assert (count, target in shown, "[link removed: " in shown) == (1, False, True)


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("target", TARGETS_INSIDE)
def test_a_target_that_stays_inside_stays(target: str, written: str) -> None:
    text = f"See {written.format(target)}, please."
    assert links.without_links(text, ALLOWED, mark=True) == (text, 0)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[r]: //evil.example/x", "[r]: //evil.example/x [outside link]"),
        ("<mailto:a@evil.example?body=x>", "<mailto:a@evil.example?body=x [outside link]>"),
        ("<tg://resolve?domain=x>", "<tg://resolve?domain=x [outside link]>"),
        ("<a href='/\t/evil.example'>", "<a href='/\t/evil.example [outside link]'>"),
        ("<a href='ht\ntps://evil.example'>", "<a href='ht\ntps://evil.example [outside link]'>"),
        (r'{"a":"<a href=\"//evil.example\">"}', r'{"a":"<a href=\"//evil.example [outside link]\">"}'),
    ],
)
def test_other_ways_to_write_a_target_are_known(text: str, left: str) -> None:
    assert links.leads_outside(text, ALLOWED)
    assert links.without_links(text, ALLOWED, mark=True) == (left, 1)


@pytest.mark.parametrize(
    "removed", ["[secret removed]", "[IP address removed]", "[email removed]", "[image removed: a picture]"]
)
def test_what_an_earlier_step_wrote_is_part_of_the_link(removed: str) -> None:
    for url in (f"https://{removed}/x", f"https://evil.example/?a={removed}&b=1", f"https://evil.example/{removed}"):
        assert links.without_links(f"See {url}.", ALLOWED, mark=True) == (f"See {url} [outside link].", 1)


@pytest.mark.parametrize("name", ACTIVE)
def test_active_content_is_taken_out(name: str) -> None:
    text, left = ACTIVE[name]
    shown, count = active.without_active(f"Before {text}", ALLOWED)
    assert shown == f"Before {left}"
    assert count >= 1


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_markup_stays(text: str) -> None:
    assert active.without_active(text, ALLOWED) == (text, 0)


def test_a_long_link_in_a_long_text_is_marked_as_a_whole() -> None:
    link = f"https://evil.example/{'x' * 1900}"
    for words in range(700, 1700, 50):
        text = f"{'word ' * words}{link} {'word ' * 4000}"
        assert links.without_links(text, ALLOWED, mark=True) == (text.replace(link, f"{link} [outside link]"), 1)


USER_INFO = [
    f"see https://acme.example:{'a' * 290}@evil.example/x now",
    f"![x](https://acme.example:{'a' * 600}@evil.example/x?d=1)",
    """<a href="https://acme.example:'@evil.example/">x</a>""",
    "[click](https://acme.example'@evil.example/x)",
    "[click](<https://acme.example(@evil.example/x>)",
    "https://acme.example]@evil.example/ is it",
    f"[a]({' ' * 11}//evil.example/x)",
    f'<a href={" " * 6}"//evil.example/x">',
    f"[x]:{' ' * 6}//evil.example/",
]


@pytest.mark.parametrize("text", USER_INFO)
def test_nothing_before_the_host_and_no_space_hides_it(text: str) -> None:
    assert links.leads_outside(text, ALLOWED)
    assert links.without_links(text, allowed=ALLOWED, mark=True)[1] == 1


def test_a_picture_of_a_host_behind_much_user_info_is_not_loaded() -> None:
    text = f"![x](https://acme.example:{'a' * 600}@evil.example/x?d=1)"
    assert active.without_active(text, allowed=ALLOWED)[1] == 1


CODE = [
    "cache[key](std::move(value));",
    "steps[i]: //comment here",
    "[main.py](main.py:42)",
    "let src = std::fs::read;",
    "src=fe80::1 dst=fe80::2",
]


@pytest.mark.parametrize("text", CODE)
def test_code_is_no_link_also_beside_one(text: str) -> None:
    for mark in (True, False):
        assert links.without_links(text, allowed=ALLOWED, mark=mark) == (text, 0)
    assert links.without_links(f"{text} see https://evil.example/x", allowed=ALLOWED, mark=False)[0].startswith(text)
