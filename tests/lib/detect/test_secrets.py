"""Secrets in results: what is one, what only looks like one, and that no text makes the search slow."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from lib.detect import secrets
from lib.detect.known import Known

BODY = "Zq9vT3xK7mWc2LpR8sYd4NbH6gFjA1eU"
HITS = {
    "a JWT": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{BODY}",
    "AWS": "id AKIA" + "ZQ9VT3XK7MWC2LPR.",
    "GitHub": f"ghp_{BODY}",
    "a GitHub token": f"github_pat_{BODY}",
    "GitLab": f"glpat-{BODY}",
    "Slack": f"xoxb-{BODY}",
    "a Slack hook": f"https://hooks.slack.com/services/T00000000/B00000000/{BODY[:24]}",
    "Google": f"AIza{BODY}abc",
    "Stripe": "sk_" + f"live_{BODY}",
    "OpenAI": f"sk-proj-{BODY}",
    "our own key": f"mcphub_0123abcd_{BODY}",
    "our own token": f"mcphub_at_{BODY}",
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "a cut private key": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n{BODY}",
    "a database": f"postgresql://me:{BODY}@db.example.com/x",
    "a cache without a user": "redis://:hunter2@cache.example.com/0",
    "an assignment": f"export API_KEY={BODY}",
    "JSON": f'{{"access_token": "{BODY}"}}',
    "JSON in JSON": rf"{{\"access_token\": \"{BODY}\"}}",
    "a header": f"Authorization: Bearer {BODY}",
    "a password somebody thought up": "password: hunter2xyz",
    "a connection string": "Server=db;User=me;Password=Tr0ub4dor+3;",
    "32 hexadecimal digits": "api_key = 5f4dcc3b5aa765d61d8327deb882cf99",
    "40 hexadecimal digits": "api_key = 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    "without a sign": "token 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    "without a sign, in words": "The secret is `5f4dcc3b5aa765d61d8327deb882cf99`",
    "in a sentence": f"The token for the staging machine is {BODY}, do not lose it.",
}
MISSES = [
    "Forgot your password? Reset your password: https://acme.example/reset/abc123def456ghi789jkl0",
    "password: required",
    "password: ********",
    '"password": "${DB_PASSWORD_1}"',
    f'"next_page_token": "{BODY}"',
    f"pageToken={BODY}",
    f'"public_key": "{BODY}"',
    f'"idempotency-key": "{BODY}"',
    '"token_type": "bearer", "max_tokens": 4096',
    '"key_id": "a1b2c3d4e5f6a7b8c9d0e1f2"',
    "the key account is 123e4567-e89b-12d3-a456-426614174000",
    "the key commit is 5f4dcc3b5aa765d61d8327deb882cf9912345678",
    "token commit 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    "page token 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    "cache key 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    f"drive file {BODY}",
    f"[secret removed] and then {BODY}",
    "token sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    f"The picture: data:image/png;base64,{BODY * 20}",
    "the secret of customer-support-escalation-policy-2024 is patience",
    "See the keys in /usr/share/doc/packages/openssl/README for more",
    "SUP-1234 is a key, basic authentication is not",
    "at 10:30 o'clock, https://example.com/a:b?c=d@e",
    "sk-8 and AKIA are prefixes; task-force-of-the-northern-district",
    "git+https://github.com/acme/keys.git",
]
NAMED = [
    ("password", "hunter2xyz", True),
    ("clientSecret", BODY, True),
    ("token", BODY, True),
    ("nextPageToken", BODY, False),
    ("token", "123e4567-e89b-12d3-a456-426614174000", False),
    ("password", "unchanged", False),
    ("subject", BODY, False),
    ("token_type", "bearer-with-1-digit", False),
]


@pytest.mark.parametrize("name", HITS)
def test_a_secret_is_taken_out(name: str) -> None:
    shown, count = secrets.without_secrets(f"Before. {HITS[name]} After.")
    assert count == 1
    assert shown.startswith("Before. ")
    assert "After." in shown or name == "a cut private key"
    assert secrets.REMOVED in shown
    for part in (BODY[:20], "hunter2", "ZQ9VT3XK", "5f4dcc3b", "Tr0ub4dor"):
        assert part not in shown


@pytest.mark.parametrize("text", MISSES)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert secrets.without_secrets(text) == (text, 0)


@pytest.mark.parametrize(("name", "value", "is_one"), NAMED)
def test_a_field_is_judged_by_its_name_and_its_value(name: str, value: str, is_one: bool) -> None:
    assert secrets.is_secret(name, value) is is_one


def test_a_secret_is_found_wherever_it_stands_in_a_long_text() -> None:
    filling = "Nothing to see here, only a line of a long report.\n"
    for before in range(75, 90):
        text = f"{filling * before}token={BODY}\n{filling * 300}"
        shown, count = secrets.without_secrets(text)
        assert (count, BODY in shown, len(shown)) == (1, False, len(text) - len(BODY) + len(secrets.REMOVED))


SECRET = 'hG7/kd+93"jsLw mz\\Qp#1'
SPELLED: dict[str, Callable[[str], str]] = {
    "in clear": str,
    "within a word": lambda secret: f"x{secret}y",
    "spaced": " ".join,
    "on two lines": lambda secret: f"{secret[:9]}\n  {secret[9:]}",
    "with escaped line breaks": lambda secret: json.dumps(f"{secret[:9]}\n{secret[9:]}"),
    "in JSON": json.dumps,
    "in JSON in JSON": lambda secret: (
        json.dumps(json.dumps(secret)[1:-1]) if "\\" not in secret else json.dumps(secret)
    ),
    "in a URL": lambda secret: quote(secret, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in HTML": html.escape,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "in capital hex": lambda secret: secret.encode().hex().upper(),
    "in hex": lambda secret: secret.encode().hex(),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in URL-safe base64": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "as a password of basic authentication": lambda secret: base64.b64encode(f"me:{secret}".encode()).decode(),
    "in base64 a byte further": lambda secret: base64.b64encode(f"us:{secret}.".encode()).decode(),
    "in folded base64": lambda secret: base64.encodebytes(f"{'x' * 50}{secret}".encode()).decode(),
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_known_secret_is_found_however_it_is_spelled(spelled: str) -> None:
    text = f"It is {SPELLED[spelled](SECRET)} they say"
    shown, count = Known([SECRET]).without(text)
    assert count == 1
    assert len(shown) < len(text) or "[secret removed]" in shown
    assert shown.startswith("It is ")
    assert shown.endswith(" they say")


@pytest.mark.parametrize("secret", ["short", "everyday", ""])
def test_a_known_secret_that_may_be_a_word_is_not_looked_for(secret: str) -> None:
    assert Known([secret]).without(f"an {secret} word") == (f"an {secret} word", 0)


def test_a_known_secret_without_digits_is_looked_for_only_as_it_is_written() -> None:
    assert Known(["Administrator"]).without("an administrator") == ("an administrator", 0)


def test_a_short_known_secret_is_found_as_a_word_of_its_own() -> None:
    known = Known(["tiny4567"])
    assert known.without("say tiny4567.") == ("say [secret removed].", 1)
    assert known.without("destiny45678") == ("destiny45678", 0)


def test_known_secrets_are_in_no_repr() -> None:
    assert SECRET[:8] not in repr(Known([SECRET])) + str(Known([SECRET])) + repr(vars(secrets).get("known"))


def test_those_beside_it_are_found_too() -> None:
    both = Known(["one-secret-1"], beside=Known(["two-secret-2"]))
    assert both.without("one-secret-1 two-secret-2") == ("[secret removed] [secret removed]", 2)


def test_a_long_token_is_found_wherever_it_begins_in_a_long_text() -> None:
    token = f"eyJ{'hbGciOiJSUzI1NiJ9' * 3}.eyJ{'zdWIiOiIxMjM0NTY3' * 100}.{'c2lnbmF0dXJl' * 30}"
    for words in range(700, 1700, 50):
        text = f"{'word ' * words}{token} {'word ' * 4000}"
        assert secrets.without_secrets(text) == (text.replace(token, "[secret removed]"), 1)
