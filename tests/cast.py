"""The cast: two tenants and the people in them, made afresh for each test, and as the hub's own actions make them."""

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from access.actions import issue_key
from access.models import APIKey
from audit import changes
from lib import db
from tenants import actions as tenant_actions
from tenants import queries
from tenants.models import Member, Role, Tenant, User
from tools import actions as tool_actions
from tools import functions
from tools.models import Tool

_numbers = itertools.count(1)
_PASSWORD = "correct horse battery staple"
_ROLES = {"olga": Role.OWNER, "adam": Role.ADMIN, "audrey": Role.AUDITOR, "anna": Role.APPROVER, "uma": Role.USER}


@dataclass
class Cast:
    """acme: olga owns it, adam is admin, audrey auditor, anna approver, uma user. beta: bob owns it. staff sees all."""

    acme: Tenant = field(init=False)
    beta: Tenant = field(init=False)
    olga: User = field(init=False)
    adam: User = field(init=False)
    audrey: User = field(init=False)
    anna: User = field(init=False)
    uma: User = field(init=False)
    bob: User = field(init=False)
    staff: User = field(init=False)
    password: str = _PASSWORD

    @classmethod
    @contextlib.contextmanager
    def on_stage(cls) -> Iterator["Cast"]:
        """A cast of its own for one test, whose tenants nobody else knows."""
        yield cls()

    def __post_init__(self) -> None:
        suffix = f"{os.environ.get('PYTEST_XDIST_WORKER', 'm')}-{next(_numbers)}-{secrets.token_hex(2)}"
        with transaction.atomic():
            self.acme = _tenant(f"acme-{suffix}", "Acme")
            self.beta = _tenant(f"beta-{suffix}", "Beta")
            for name in _ROLES:
                setattr(self, name, _unsaved(f"{name}-{self.acme.slug}"))
            self.bob = _unsaved(f"bob-{self.beta.slug}")
            self.staff = _unsaved(f"staff-{suffix}", is_superuser=True, is_staff=True)
            User.objects.bulk_create([*(getattr(self, name) for name in _ROLES), self.bob, self.staff])
            members = [Member(tenant=self.acme, user=getattr(self, name), role=role) for name, role in _ROLES.items()]
            _let_in([*members, Member(tenant=self.beta, user=self.bob, role=Role.OWNER)])

    @contextlib.contextmanager
    def see(self, *tenants: Tenant) -> Iterator[None]:
        """Look at the rows of these tenants; of both when none is named."""
        with db.tenant_scope([tenant.pk for tenant in tenants or (self.acme, self.beta)]):
            yield

    def join(self, tenant: Tenant, name: str, role: Role) -> Member:
        """A new person in a tenant."""
        with self.see(tenant):
            user = _unsaved(f"{name}-{tenant.slug}")
            user.save()
            return tenant_actions.add_member(tenant, user, role=role, actor="system")

    def member(self, tenant: Tenant, user: User) -> Member:
        with self.see(tenant):
            return Member.objects.select_related("user", "tenant").get(tenant=tenant, user=user)

    def key(
        self, user: User, tenant: Tenant | None = None, *, scopes: Sequence[str] | None = None, **fields: Any
    ) -> tuple[APIKey, str]:
        """An API key of a member and its secret."""
        tenant = tenant or self.acme
        with self.see(tenant):
            return issue_key(self.member(tenant, user), name="test host", actor="system", scopes=scopes, **fields)

    def scopes(self, tenant: Tenant, scopes: dict[str, str], **implies: list[str]) -> None:
        """Define scopes; `implies` is given with dots spelled as underscores."""
        with self.see(tenant):
            spelled = {name.replace("_", "."): implied for name, implied in implies.items()}
            tenant_actions.define_scopes(tenant, scopes, actor="system", implies=spelled)

    def change_scope(self, tenant: Tenant, name: str, **fields: Any) -> None:
        with self.see(tenant):
            tenant.scopes.filter(name=name).update(**fields)

    def draft(self, tenant: Tenant, name: str = "echo", **fields: Any) -> Tool:
        """A tool that is not published: the function of that name, unless `fields` say otherwise."""
        described = functions.load().get(fields.get("config", {}).get("function", name))
        given: dict[str, Any] = {
            "description": "Does one thing for tests. Use it in tests; changes nothing.",
            "kind": "function",
            "config": {"function": name},
            "read_only": True,
            "destructive": False,
        }
        if described is not None:
            given |= {"input_schema": described.input_schema(), "output_schema": described.output_schema()}
        with self.see(tenant):
            return Tool.objects.create(tenant=tenant, name=name, **(given | fields))

    def tool(self, tenant: Tenant, name: str = "echo", **fields: Any) -> Tool:
        """The same, published."""
        tool = self.draft(tenant, name, **fields)
        with self.see(tenant):
            tool_actions.publish(tool, actor=self.staff)
        return tool

    def reached_by(self, user: User) -> list[int]:
        return queries.tenants_reached_by(user.pk)


@cache
def _hashed() -> str:
    """Hashed once: a good hash is slow, and the cast is large."""
    return make_password(_PASSWORD)


def _tenant(slug: str, name: str) -> Tenant:
    return tenant_actions.create_tenant(Tenant(slug=slug, name=name), actor="system")


def _unsaved(username: str, **fields: Any) -> User:
    return User(username=username, email=f"{username}@example.com", password=_hashed(), **fields)


def _let_in(members: list[Member]) -> None:
    """What `add_member` does for one after the other, which is most of what a test would wait for."""
    for member in Member.objects.bulk_create(members):
        after = changes.snapshot(member)
        changes.record(tenant_id=member.tenant_id, actor="system", verb="added", subject=member, after=after)
