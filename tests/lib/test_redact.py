"""Previews: no secret survives, they are bounded, and nothing that comes in breaks them."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import entries
from lib import redact

BODY = "Zq9vT3xK7mWc2LpR8sYd4NbH6gFjA1eU"
SECRETS = {
    "bearer": f"Bearer {BODY}",
    "basic": f"basic {BODY}",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.{BODY}.{BODY}",
    "a long jwt": f"eyJhbGciOiJIUzI1NiJ9.{BODY * 100}.{BODY}",
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "a cut private key": f"-----BEGIN PRIVATE KEY-----\n{BODY}\n{BODY}",
    "aws": "AKIAZQ9VT3XK7MWC2LPR",
    "github": f"ghp_{BODY}",
    "a github token": f"github_pat_{BODY}",
    "gitlab": f"glpat-{BODY}",
    "slack": f"xoxb-{BODY}",
    "google": f"AIza{BODY}",
    "stripe": f"sk_live_{BODY}",
    "openai": f"sk-proj-{BODY}",
    "our own": f"mcphub_0123abcd_{BODY}",
    "our own access token": f"mcphub_at_{BODY}",
    "our own refresh token": f"mcphub_rt_{BODY}",
    "our own code": f"mcphub_ac_{BODY}",
    "our own machine's secret": f"mcphub_cs_{BODY}",
    "a url": f"postgresql://me:{BODY}@db.example.com/x",
    "a url without a user": f"redis://:{BODY}@cache.example.com",
    "a url with an at sign in its password": f"https://me:a@{BODY}@example.com",
}
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=400) | st.characters(categories=["Cs"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=300), inner, max_size=30),
    max_leaves=60,
)


def secret_part(name: str) -> str:
    return "ZQ9VT3XK7MWC" if name == "aws" else BODY[:12]


@pytest.mark.parametrize("name", SECRETS)
@given(before=st.text(max_size=300), after=st.text(max_size=300))
def test_no_secret_of_a_known_shape_survives(name: str, before: str, after: str) -> None:
    shown = json.dumps(redact.preview({"note": [f"{before} {SECRETS[name]} {after}"]}))
    assert secret_part(name) not in shown


@pytest.mark.parametrize("name", SECRETS)
def test_nor_as_the_name_of_a_field(name: str) -> None:
    assert secret_part(name) not in json.dumps(redact.preview({SECRETS[name]: 1, "x": {SECRETS[name]: 2}}))


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Passwd",
        "user_password",
        "pwd",
        "passphrase",
        "passcode",
        "client_secret",
        "API-Key",
        "apiKey",
        "api_key",
        "access_key",
        "token",
        "refreshToken",
        "Authorization",
        "authorisation",
        "credentials",
        "private_key",
        "signing-key",
        "cookie",
        "session_id",
        "pin",
        "user_pin",
        "CVV",
        "card-cvc",
        "ssn",
        "otp",
        "otp_code",
        "jwt",
        "connection_string",
        "bearer",
    ],
)
@pytest.mark.parametrize("value", ["plain", 1234, ["a", "b"], {"a": "b"}, True])
def test_a_field_with_the_name_of_a_secret_is_hidden_whatever_is_in_it(name: str, value: Any) -> None:
    assert redact.preview({"outer": {name: value}}) == {"outer": {name: "[redacted]"}}


@pytest.mark.parametrize(
    "name", ["pinned", "shipping", "spinner", "opinion", "assets", "keyboard", "author", "monkey", "keys", "subject"]
)
def test_an_ordinary_name_is_left_alone(name: str) -> None:
    assert redact.preview({name: "plain"}) == {name: "plain"}


@pytest.mark.parametrize(
    "text", ["Read https://example.com/a:b?c=d@e", "at 10:30 o'clock", "task-force report", "AKIA is a prefix", "sk-8"]
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact.text(text) == text


def test_a_field_that_is_absent_needs_no_hiding() -> None:
    assert redact.preview({"password": None}) == {"password": None}


def test_fields_that_the_schema_marks_are_hidden_at_any_depth() -> None:
    given = {"code": "a", "list": [{"code": {"b": 1}}]}
    assert redact.preview(given, hidden=frozenset({"code"})) == {
        "code": "[redacted]",
        "list": [{"code": "[redacted]"}],
    }


@given(JSON)
def test_any_value_gives_json_that_postgres_can_keep_and_within_the_bound(value: Any) -> None:
    kept = orjson.dumps(entries.preview(value))
    assert len(kept) <= 4096
    assert b"\\u0000" not in kept.replace(b"\\\\", b"")


@given(st.text() | st.characters(categories=["Cs"]))
def test_text_is_cut_and_valid_unicode(value: str) -> None:
    shown = redact.text(value * 50)
    assert len(shown) <= 201
    shown.encode()
    assert "\x00" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, "a whole number beyond 64 bits"),
        (-(10**400), "a whole number beyond 64 bits"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"bytes", "[redacted]"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a?b"),
        ({1: 2}, {"1": 2}),
        ((1, 2), [1, 2]),
        ([[[[[[[1]]]]]]], [[[[[["…"]]]]]]),
    ],
)
def test_what_json_cannot_carry_is_shown_as_something_it_can(value: Any, shown: Any) -> None:
    assert redact.preview(value) == shown


def test_long_lists_and_objects_are_shortened_with_a_count() -> None:
    assert redact.preview(list(range(25)))[-1] == "… 5 more"
    assert redact.preview({str(n): n for n in range(23)})["…"] == "3 more"


@pytest.mark.parametrize(
    "huge",
    [
        pytest.param([[[[[["x" * 50] * 20] * 20] * 20] * 20] * 20] * 20, id="wide and deep"),
        pytest.param({f"ghp_{'a' * 30}{n}": n for n in range(200_000)}, id="names that look alike once hidden"),
        pytest.param("eyJ" * 1_000_000, id="text that almost looks like a token"),
        pytest.param("://:" * 500_000, id="text that almost looks like a URL"),
    ],
)
def test_a_preview_costs_little_however_much_is_sent(huge: Any) -> None:
    began = time.thread_time()
    redact.preview(huge)
    assert time.thread_time() - began < 0.25
