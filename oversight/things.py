"""What can be switched off: where each thing lives, whom it touches, and what that does, in words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models

from access.actions import clients
from access.models import Admission, Client, Consent
from oversight.models import Switch
from tenants import actions as tenant_actions
from tenants.models import Member, Stop, Tenant, User
from tools.models import Connection, Tool

Sort = Switch.Sort


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One thing that can be switched off. row: None for everything. tenant: None for what is not one tenant's; a client
    or a user of the whole hub has one when only that tenant shuts them out."""

    sort: Switch.Sort
    row: models.Model | None
    tenant: Tenant | None

    @property
    def target(self) -> str:
        return "" if self.row is None else str(self.row.pk)

    @property
    def label(self) -> str:
        if self.row is None:
            return "everything"
        where = f" in {self.tenant.name}" if self.tenant is not None and self.sort != Sort.TENANT else ""
        return f"{_name(self.row)}{where}"[:200]

    @property
    def subject(self) -> models.Model:
        """What ledger entries name."""
        return self.row if self.row is not None else Stop()

    def tenants(self) -> list[int]:
        """The tenants, of those in sight, in which something of it can run."""
        if self.tenant is not None:
            return [self.tenant.pk]
        match self.row:
            case User():
                return sorted(set(Member.objects.filter(user=self.row).values_list("tenant_id", flat=True)))
            case Client():
                return sorted(set(Consent.objects.filter(client=self.row).values_list("tenant_id", flat=True)))
        return sorted(Tenant.objects.values_list("pk", flat=True))

    def switch_off(self, actor: str) -> None:
        """Where it lives. What is off already is left so; raises ValidationError for what must not be switched off."""
        _MOVES[self.sort](self, False, actor)

    def switch_on(self, actor: str) -> None:
        """Undo that."""
        _MOVES[self.sort](self, True, actor)


def find(sort: str, target: str, tenant: Tenant | None) -> Thing | None:
    """The thing that a switch, or an address, speaks of; None where it is gone or was never there."""
    if sort not in Sort.values:
        return None
    if sort == Sort.EVERYTHING:
        return Thing(sort=Sort.EVERYTHING, row=None, tenant=None)
    if not (target.isascii() and target.isdigit() and len(target) < 19):
        return None
    row: Any = _MODELS[Sort(sort)].objects.filter(pk=int(target)).first()
    if row is None:
        return None
    own = row if isinstance(row, Tenant) else getattr(row, "tenant", None)
    if own is None and tenant is not None and not _is_known(row, tenant):
        return None
    return Thing(sort=Sort(sort), row=row, tenant=own or tenant)


def _is_known(row: models.Model, tenant: Tenant) -> bool:
    """Whether a user, or a client of the whole hub, ever came to this tenant; who looks after it learns of no other."""
    if isinstance(row, User):
        return Member.objects.filter(tenant=tenant, user=row).exists()
    consents, admissions = Consent.objects.filter(tenant=tenant), Admission.objects.filter(tenant=tenant)
    return consents.filter(client_id=row.pk).exists() or admissions.filter(client_id=row.pk).exists()


def _name(row: models.Model) -> str:
    return row.username if isinstance(row, User) else str(row)


def _set_enabled(thing: Thing, on: bool, actor: str) -> None:
    row = thing.row
    assert row is not None  # noqa: S101 - only everything has none
    type(row)._default_manager.filter(pk=row.pk).update(enabled=on)


def _move_client(thing: Thing, on: bool, actor: str) -> None:
    client = thing.row
    assert isinstance(client, Client)  # noqa: S101 - as `find` makes it
    if thing.tenant is None or client.tenant_id == thing.tenant.pk:
        (clients.enable_client if on else clients.disable_client)(client, actor=actor)
    elif not on:
        clients.block_client(thing.tenant, client, actor=actor)
    elif Admission.objects.filter(tenant=thing.tenant, client=client, state=Admission.State.BLOCKED).exists():
        clients.admit_client(thing.tenant, client, actor=actor)


def _move_user(thing: Thing, on: bool, actor: str) -> None:
    user = thing.row
    assert isinstance(user, User)  # noqa: S101 - as `find` makes it
    if thing.tenant is None:
        user = User.objects.select_for_update().get(pk=user.pk)
        user.is_active = on
        tenant_actions.change_user(user, actor=actor)
        return
    member = Member.objects.select_related("user", "tenant").filter(tenant=thing.tenant, user=user).first()
    if member is None:
        raise ValidationError(f"{user.username} is no member of {thing.tenant.name}.")
    member.active = on
    tenant_actions.change_member(member, actor=actor)


def _move_everything(thing: Thing, on: bool, actor: str) -> None:
    if on:
        Stop.objects.all().delete()
    else:
        Stop.objects.get_or_create(one=True)


_MODELS: Final[dict[Switch.Sort, Any]] = {
    Sort.TOOL: Tool,
    Sort.CONNECTION: Connection,
    Sort.CLIENT: Client,
    Sort.USER: User,
    Sort.TENANT: Tenant,
}
_MOVES: Final[dict[Switch.Sort, Callable[[Thing, bool, str], None]]] = {
    Sort.TOOL: _set_enabled,
    Sort.CONNECTION: _set_enabled,
    Sort.CLIENT: _move_client,
    Sort.USER: _move_user,
    Sort.TENANT: _set_enabled,
    Sort.EVERYTHING: _move_everything,
}


def what_it_does(thing: Thing) -> tuple[str, str]:
    """What throwing its switch does, and what of that cannot be undone."""
    lost = "Jobs of it that wait or run are cancelled for good, and a call that runs may have taken effect."
    match thing.sort:
        case Sort.TOOL:
            does = "Hosts are refused from their next request on, and are told that the list of tools changed."
        case Sort.CONNECTION:
            does = "No tool that uses it is offered from the next request on, and nothing is sent to its service."
        case Sort.CLIENT if thing.tenant is not None and getattr(thing.row, "tenant_id", None) is None:
            does = "Its tokens are refused here from the next request on, and its streams end."
            lost = f"{lost} What members let it do is revoked, so they will be asked again."
        case Sort.CLIENT:
            does = "Its tokens are refused from the next request on, it gets no new ones, and its streams end."
        case Sort.USER if thing.tenant is not None:
            does = "Everything that acts for them here is refused from the next request on, and its streams end."
        case Sort.USER:
            does = "They are signed out, all that acts for them is refused in every tenant, and its streams end."
        case Sort.TENANT:
            does = "Its endpoint is unknown to everybody from the next request on, and its streams end."
        case _:
            does = (
                "Every endpoint answers 503 from the next request on, no job is taken up, and webhooks wait. "
                "Pages and this admin go on working, so that it can be switched on again."
            )
    return f"{does} Calls that run are cancelled at once.", lost
