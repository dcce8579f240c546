"""The commands, as people type them."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from psycopg.conninfo import make_conninfo

from audit.models import Entry
from jobs.actions import add_hook
from jobs.models import State
from jobs.sealed import unseal_arguments
from lib import db
from lib.seal import unseal
from policy.models import Limit
from tenants import queries
from tenants.models import Member, Tenant
from tests.cast import Cast
from tests.gateway.conftest import host
from tests.host import Host
from tests.jobs.made import made, slow_tool
from tests.postgres import as_owner
from tools.actions import set_secret
from tools.models import Connection, Tool

__all__ = ["host"]

ROOT = Path(__file__).resolve().parents[2]


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def printed(*arguments: str) -> str:
    """What a command prints, where it need not be a process."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.fixture
def scoped(cast: Cast) -> Cast:
    cast.scopes(cast.acme, {"a.read": "Read", "a.write": "Write"})
    return cast


def test_apikey_prints_the_key_alone_and_it_works(scoped: Cast, hub: list[str]) -> None:
    scoped.tool(scoped.acme, "echo", scopes=["a.read"])
    ended = manage("apikey", scoped.acme.slug, "--user", scoped.uma.username)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("mcphub_")
    assert ended.stdout.count("\n") == 1
    assert Host(hub[0], scoped.acme.slug, ended.stdout.strip()).call("echo", {"text": "x"}).text == '{"text":"x"}'


def test_apikey_takes_scopes_and_a_name(scoped: Cast) -> None:
    said = printed("apikey", scoped.acme.slug, "--user", scoped.uma.username, "--scope", "a.read", "--name", "Laptop")
    with scoped.see(scoped.acme):
        key = scoped.member(scoped.acme, scoped.uma).keys.get()
    assert (key.scopes, key.name, key.prefix) == (["a.read"], "Laptop", said[:15])


def test_apikey_says_what_is_wrong(scoped: Cast) -> None:
    user = scoped.uma.username
    wrong = {
        ("no-such", "--user", user): "There is no enabled tenant 'no-such'.",
        (scoped.acme.slug, "--user", "nobody"): f"'nobody' is no active member of {scoped.acme.slug}. Members: ",
        (scoped.acme.slug, "--user", scoped.bob.username): f"{scoped.bob.username!r} is no active member of",
        (scoped.acme.slug, "--user", user, "--scope", "b.read"): "cannot have b.read. Allowed: a.read, a.write.",
    }
    for arguments, sentence in wrong.items():
        with pytest.raises(CommandError, match=re.escape(sentence)):
            call_command("apikey", *arguments)
    ended = manage("apikey", "no-such", "--user", user)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert last_line(ended.stderr) == "CommandError: There is no enabled tenant 'no-such'."
    assert "Traceback" not in ended.stderr


def test_call_prints_the_result(cast: Cast) -> None:
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "shout")
    ended = manage("call", cast.acme.slug, "echo", '{"text": "hello"}')
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"text": "hello"})
    assert printed("call", cast.acme.slug, "shout", '{"text": "hello"}') == "HELLO\n"


def test_call_acts_as_an_owner_or_as_whom_is_named(cast: Cast) -> None:
    cast.tool(cast.acme, "who_am_i", output_schema=None)
    said = [
        json.loads(printed("call", cast.acme.slug, "who_am_i", "{}", *more))["user"]
        for more in ((), ("--as", cast.uma.username))
    ]
    assert said == [cast.olga.username, cast.uma.username]


def test_call_ends_with_1_and_a_sentence_when_nothing_came_of_it(cast: Cast) -> None:
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "fail")
    slug = cast.acme.slug
    wrong = {
        (slug, "gone", "{}"): "refused (unknown_tool): There is no tool named 'gone' here.",
        (slug, "echo", "{}"): "Mend them and call again.",
        (slug, "echo", "{"): "The arguments are not JSON:",
        (slug, "echo", '{"text": NaN}'): "The arguments are not JSON:",
        (slug, "echo", '{"text": "\\ud800"}'): "The arguments are not JSON:",
        (slug, "echo", "[]"): "The arguments must be a JSON object",
        (slug, "echo", "{}", "--as", "nobody"): "'nobody' is no active member of",
        (slug, "fail", '{"how": "politely"}'): "the tool answered with an error",
        ("no-such", "echo", "{}"): "There is no enabled tenant 'no-such'.",
    }
    for arguments, sentence in wrong.items():
        with pytest.raises(CommandError, match=re.escape(sentence)):
            call_command("call", *arguments, stdout=StringIO())
    ended = manage("call", slug, "fail", '{"how": "politely"}')
    assert (ended.returncode, "paper" in ended.stdout) == (1, True)
    assert last_line(ended.stderr) == "CommandError: the tool answered with an error"
    assert "Traceback" not in ended.stderr


def test_call_does_not_run_as_the_owner_of_the_tables(cast: Cast) -> None:
    cast.tool(cast.acme, "echo")
    ended = manage("call", cast.acme.slug, "echo", '{"text": "x"}', DATABASE_URL=os.environ["DATABASE_OWNER_URL"])
    assert ended.returncode == 1
    assert "owns the tables" in last_line(ended.stderr)
    assert "Traceback" not in ended.stderr


def demo(url: str = "http://127.0.0.1:9") -> dict[str, object]:
    ended = manage("demo", "--base-url", "http://localhost:8000", "--helpdesk-url", url, HELPDESK_TOKEN="t")
    assert ended.returncode == 0, ended.stderr
    card: dict[str, object] = json.loads(ended.stdout)
    return card


def test_demo_twice_keeps_data_and_edits() -> None:
    """Also where somebody disabled the tenant, which must not stop the next start."""
    first = demo()
    assert list(first) == ["admin_url", "username", "password", "mcp_url", "api_key"]
    assert (first["admin_url"], first["username"]) == ("http://localhost:8000/admin/", "admin")
    assert first["mcp_url"] == "http://localhost:8000/t/demo/mcp"
    tenant_id = queries.tenant_id_of("demo")
    assert tenant_id is not None
    with db.tenant_scope([tenant_id]):
        Tool.objects.filter(name="get_ticket").update(title="Edited", enabled=False)
        Limit.objects.filter(per="tenant").delete()
        Tenant.objects.filter(pk=tenant_id).update(instructions="Edited", enabled=False)
        Member.objects.filter(tenant=tenant_id).update(role="auditor")
    second = demo("http://127.0.0.1:10")
    assert second == {**first, "password": None}
    with db.tenant_scope([tenant_id]):
        tenant = Tenant.objects.get(pk=tenant_id)
        edited = Tool.objects.get(name="get_ticket")
        assert (tenant.instructions, tenant.enabled) == ("Edited", False)
        assert (edited.title, edited.enabled, Tool.objects.count()) == ("Edited", False, 6)
        assert Limit.objects.count() == 2
        assert Member.objects.get().role == "auditor"
        assert Connection.objects.get().base_url == "http://127.0.0.1:10"


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def reseal(cast: Cast) -> Iterator[Command]:
    """`manage.py reseal` to which acme and beta are all the tenants there are.

    By a view that comes before the table: other tests leave thousands of tenants, and jobs that no key opens.
    """
    schema = f"seen_{secrets.token_hex(4)}"
    owner_url = os.environ["DATABASE_OWNER_URL"]
    with as_owner() as owner:
        both = f"SELECT * FROM public.tenants_tenant WHERE id IN ({cast.acme.pk}, {cast.beta.pk})"  # noqa: S608
        owner.execute(f"CREATE SCHEMA {schema} CREATE VIEW tenants_tenant AS {both}".encode())
        sees = make_conninfo(owner_url, options=f"-c search_path={schema},public")
        yield lambda **keys: manage("reseal", DATABASE_OWNER_URL=sees, **keys)
        owner.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def test_reseal_lets_an_old_key_be_dropped(cast: Cast, reseal: Command) -> None:
    old, new = os.environ["SEAL_KEYS"], Fernet.generate_key().decode()
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Upstream", base_url="https://example.com")
        set_secret(connection, "s3cret", actor=cast.olga)
        hook, signs = add_hook(cast.acme, "https://hooks.example.com/", actor=cast.olga)
    job = made(cast, cast.uma, slow_tool(cast), State.QUEUED)
    try:
        ended = reseal(SEAL_KEYS=f"{new},{old}")
        assert ended.returncode == 0, ended.stderr
        assert "s3cret" not in ended.stdout + ended.stderr
        with cast.see(cast.acme), override_settings(SEAL_KEYS=[new]):
            connection.refresh_from_db()
            assert unseal(connection.secret or b"") == "s3cret"
            hook.refresh_from_db()
            assert unseal(hook.secret) == signs
            job.refresh_from_db()
            assert unseal_arguments(job.arguments or b"") == {"text": "hello"}
            said = Entry.objects.filter(tenant_id=cast.acme.pk, reason__startswith="resealed").order_by("id")
            assert [entry.reason for entry in said] == ["resealed the secret of"] * 2 + ["resealed the jobs of"]
    finally:
        reseal(SEAL_KEYS=f"{old},{new}")


def test_reseal_keeps_second_factors(cast: Cast, reseal: Command) -> None:
    old, new = os.environ["SEAL_KEYS"], Fernet.generate_key().decode()
    app = TOTP.activate(cast.uma, "JBSWY3DPEHPK3PXP").instance
    codes = RecoveryCodes.activate(cast.uma).instance
    usable = RecoveryCodes(codes).get_unused_codes()
    try:
        ended = reseal(SEAL_KEYS=f"{new},{old}")
        assert ended.returncode == 0, ended.stderr
        with override_settings(SEAL_KEYS=[new]):
            app.refresh_from_db()
            assert unseal(app.data["secret"].encode()) == "JBSWY3DPEHPK3PXP"
            codes.refresh_from_db()
            assert RecoveryCodes(codes).get_unused_codes() == usable
    finally:
        reseal(SEAL_KEYS=f"{old},{new}")


def test_reseal_names_a_job_that_no_key_opens_and_ends_with_an_error(cast: Cast, reseal: Command) -> None:
    lost = made(cast, cast.uma, slow_tool(cast), State.SUCCEEDED, answers=b"nonsense")
    ended = reseal()
    assert ended.returncode == 1
    assert f"no key opens what is kept of job {lost.pk}." in ended.stderr
    assert "Put back the keys" in ended.stderr


def test_reseal_without_the_key_a_secret_was_sealed_with_changes_nothing(cast: Cast, reseal: Command) -> None:
    with cast.see(cast.acme):
        connection = Connection.objects.create(tenant=cast.acme, name="Upstream", base_url="https://example.com")
        set_secret(connection, "s3cret", actor=cast.olga)
    ended = reseal(SEAL_KEYS=Fernet.generate_key().decode())
    assert ended.returncode == 1
    assert "no key of SEAL_KEYS opens this secret" in ended.stderr
    with cast.see(cast.acme):
        connection.refresh_from_db()
        assert unseal(connection.secret or b"") == "s3cret"
