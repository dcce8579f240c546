"""Clients in the admin: programs an admin made, and to read, those that came by themselves."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from access.actions import clients as actions
from access.actions import keys
from access.models import Admission, AuthMethod, Client, Consent
from lib.html import when
from tenants.administration import TenantAdmin, TenantForm, ask_then_act, confirm, standing, tell, tenant_column
from tenants.fields import ChecksField, JSONTextField, ListField
from tenants.models import Member, Scope

MACHINE = ("member", "scopes", "jwks", "jwks_uri")
SIGNS = ("jwks", "jwks_uri")


class ClientForm(TenantForm):
    """A client of one tenant. How it proves itself decides what it is: nothing is a public client, else a machine."""

    redirect_uris = ListField(
        lines=True,
        required=False,
        label="Redirect URIs",
        help_text="For a public client: where people are sent back to, one a line. On loopback any port matches.",
    )
    jwks = JSONTextField(
        required=False,
        rows=6,
        label="Key set",
        help_text="For a machine that signs: its public keys as a JWKS, or else the address of one below.",
    )
    jwks_uri = forms.CharField(
        required=False, label="Address of the key set", widget=UnfoldAdminTextInputWidget, max_length=2000
    )

    class Meta:
        model = Client
        fields = ["name", "auth_method", "redirect_uris", *MACHINE]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if "redirect_uris" in self.fields:
            self.initial["redirect_uris"] = self.instance.redirect_uris.split()
        if "name" in self.fields:
            self.fields["name"].required = True
        if "member" in self.fields:
            members = Member.objects.filter(
                tenant=self.tenant, active=True, role__in=self.standing.may_act_as(self.tenant.pk)
            )
            self.fields["member"] = forms.ModelChoiceField(
                members.select_related("user"),
                required=False,
                widget=UnfoldAdminSelectWidget,
                help_text="For a machine: the member it acts as. Make one for it, so that the ledger tells them apart.",
            )
        if "scopes" in self.fields:
            scopes = Scope.objects.filter(tenant=self.tenant)
            self.fields["scopes"] = ChecksField(
                [(scope.name, f"{scope.name}: {scope.description}") for scope in scopes],
                help_text="For a machine: exactly what it may do. A public client asks people instead.",
            )

    def clean_redirect_uris(self) -> str:
        return " ".join(self.cleaned_data["redirect_uris"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        machine = cleaned.get("auth_method", self.instance.auth_method) != AuthMethod.NONE
        grants = Client.GRANT_CLIENT_CREDENTIALS, Client.GRANT_AUTHORIZATION_CODE
        self.instance.authorization_grant_type = grants[0] if machine else grants[1]
        self.instance.client_type = Client.CLIENT_CONFIDENTIAL if machine else Client.CLIENT_PUBLIC
        if machine and not self.errors:
            self._check_machine(cleaned)
        elif self.instance.pk is None and any(cleaned.get(name) for name in MACHINE):
            self.add_error("auth_method", "Only a machine has a member, scopes or keys, and it has to prove itself.")
        return cleaned

    def _check_machine(self, cleaned: dict[str, Any]) -> None:
        member = cleaned.get("member") or self.instance.member
        if member is None:
            self.add_error("member", "Choose the member it acts as.")
            return
        if not cleaned.get("scopes"):
            self.add_error("scopes", "Tick what it may do.")
        if cleaned.get("redirect_uris"):
            self.add_error("redirect_uris", "A machine sends nobody anywhere, so it has none.")
        method = cleaned.get("auth_method", self.instance.auth_method)
        try:
            keys.check_scopes(member, cleaned.get("scopes") or [])
            actions.check_proof(method, cleaned.get("jwks"), cleaned.get("jwks_uri") or "")
        except ValidationError as problem:
            self.add_error(None, problem)


class ClientAdmin(TenantAdmin):
    """A tenant's own clients, which its admins change; besides them, to read, those of the whole hub that came here.

    Registered by the toolkit, which is told of it in the settings.
    """

    form = ClientForm
    list_display = ("name_text", "source", tenant_column, "sort", "state_label", "used", "made")
    list_filter = ("registration_source",)
    search_fields = ("name", "client_id")
    search_help_text = "Search by name or client id"
    ordering = ("-created",)
    empty_says = "Programs that people let in appear here by themselves. Add one that cannot register itself."
    shown = ("name", "auth_method", "redirect_uris", *MACHINE)
    facts: ClassVar = ["tenant", "client_id", "source", "sort", "state_label", "made", "used"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super(TenantAdmin, self).get_queryset(request)
        managed = self.tenants(request)
        mine = Q(tenant_id__in=managed)
        if standing(request).staff:
            mine |= Q(tenant=None)
        here = Admission.objects.filter(tenant_id__in=managed).values("client_id")
        let_in = Consent.objects.filter(tenant_id__in=managed).values("client_id")
        met = Q(tenant=None) & (Q(pk__in=here) | Q(pk__in=let_in))
        return rows.filter(mine | met).select_related("tenant", "member__user")

    def governs(self, request: HttpRequest, obj: Any = None) -> bool:
        """A client of the whole hub is platform staff's, whoever else may look at it."""
        if obj is not None and obj.tenant_id is None:
            return standing(request).staff
        return super().governs(request, obj)

    @staticmethod
    def wields(request: HttpRequest, client: Client) -> bool:
        """Whether the reader may act as this client does. Who sets a machine's secret, keys or scopes acts as its
        member, which must therefore be none above the reader's own role. Blocking it is for every admin.
        """
        if not client.machine:
            return True
        member = client.member
        return member is not None and member.role in standing(request).may_act_as(member.tenant_id)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request)  # get_queryset says which ones

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What a program said about itself is not changed by anybody else.
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or (obj.tenant_id is not None and self.wields(request, obj)))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a blocked client stays, so that its ledger entries can be read

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return ["tenant", *self.shown]
        return [*self.facts, *(["member_name"] if obj.machine else []), *self._changeable(request, obj)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.facts, "member_name"] if obj else ["tenant"]

    def _changeable(self, request: HttpRequest, client: Client) -> list[str]:
        if not client.machine:
            return ["name", "redirect_uris"]
        return ["name", "scopes", *(SIGNS if client.auth_method == AuthMethod.JWT else ())]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and obj.tenant_id is None:
            return super(TenantAdmin, self).get_form(request, obj, change, form=forms.ModelForm, **kwargs)
        return super().get_form(request, obj, change, **kwargs)

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (
            ("<path:object_id>/block/", self.block_view, "block"),
            ("<path:object_id>/unblock/", self.unblock_view, "unblock"),
            ("<path:object_id>/rotate/", self.rotate_view, "rotate"),
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        client = self.get_object(request, object_id)
        may = client is not None and self.governs(request, client)
        wields = client is not None and self.wields(request, client)
        context = {"client": client if may else None, "wields": wields, "decide": _decide_url(client)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        actor, given = request.user.get_username(), form.cleaned_data
        if change:
            actions.change_client(obj, actor=actor)
            return
        secret = None
        if given["auth_method"] == AuthMethod.NONE:
            uris = given["redirect_uris"].split()
            made = actions.create_client(form.tenant, name=given["name"], redirect_uris=uris, actor=actor)
        else:
            made, secret = actions.create_machine(
                given["member"],
                name=given["name"],
                scopes=given["scopes"],
                auth_method=given["auth_method"],
                actor=actor,
                jwks=given["jwks"],
                jwks_uri=given["jwks_uri"],
            )
        obj.pk, obj.client_id = made.pk, made.client_id
        request.new_secret = secret  # type: ignore[attr-defined] # lives as long as this request

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: Any = None) -> HttpResponse:
        return self._made(request, obj, request.new_secret)  # type: ignore[attr-defined]

    def _made(self, request: HttpRequest, client: Client, secret: str | None) -> HttpResponse:
        """The one page that shows a secret. It is not kept anywhere, so going back does not show it again."""
        title = f"{client.name}: {'the new secret' if secret else 'the new client'}"
        endpoint = f"{settings.BASE_URL}/t/{client.tenant.slug}/mcp" if client.tenant else ""
        response = self.page(
            request,
            "admin/access/new_client.html",
            title=title,
            client=client,
            secret=secret,
            endpoint=endpoint,
            token_endpoint=f"{settings.BASE_URL}/token",
        )
        response["Cache-Control"] = "no-store"
        return response

    def _governed(self, request: HttpRequest, object_id: str) -> Client:
        client: Client = self.row(request, object_id)
        if not self.governs(request, client):
            raise PermissionDenied
        return client

    def _wielded(self, request: HttpRequest, object_id: str) -> Client:
        client = self._governed(request, object_id)
        if not self.wields(request, client):
            raise PermissionDenied
        return client

    def block_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        client = self._governed(request, object_id)
        where = f"in {client.tenant.name}" if client.tenant else "in every tenant"
        return ask_then_act(
            self,
            request,
            button=f"Block {client}",
            says=f"{client} is refused {where} from its next request on. "
            "What people let it do is kept until you unblock.",
            act=partial(actions.disable_client, client, actor=request.user.get_username()),
            done=f"{client} is blocked.",
            back=reverse("admin:access_client_change", args=[client.pk]),
        )

    def unblock_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        client = self._wielded(request, object_id)
        return ask_then_act(
            self,
            request,
            button=f"Unblock {client}",
            says=f"{client} works again with what it had before, as far as that has not run out.",
            act=partial(actions.enable_client, client, actor=request.user.get_username()),
            done=f"{client} is unblocked.",
            back=reverse("admin:access_client_change", args=[client.pk]),
        )

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        client = self._wielded(request, object_id)
        back = reverse("admin:access_client_change", args=[client.pk])
        if request.method == "POST":
            try:
                secret = actions.rotate_secret(client, actor=request.user.get_username())
            except ValidationError as problem:
                tell(request, problem)
                return HttpResponseRedirect(back)
            return self._made(request, client, secret)
        button = f"Give {client} a new secret"
        says = "The old secret, and the tokens it got, are refused from the next request on. The new one is shown once."
        return confirm(self, request, title=button, says=says, button=button, back=back)

    @display(description="name", ordering="name")
    def name_text(self, client: Client) -> str:
        return str(client)

    @display(description="known by", ordering="registration_source")
    def source(self, client: Client) -> str:
        return known_by(client)

    @display(description="acts")
    def sort(self, client: Client) -> str:
        return f"by itself, as {client.member.user}" if client.machine and client.member else "for people"

    @display(description="acts as")
    def member_name(self, client: Client) -> str:
        return client.member.user.username if client.member else ""

    @display(description="state", label={"active": "success", "blocked": "danger", "lapsed": "warning"})
    def state_label(self, client: Client) -> str:
        return "blocked" if client.blocked_at else "active" if client.live else "lapsed"

    @display(description="last token", ordering="used_at")
    def used(self, client: Client) -> SafeString:
        return when(client.used_at)

    @display(description="known since", ordering="created")
    def made(self, client: Client) -> SafeString:
        return when(client.created)


def known_by(client: Client) -> str:
    """Who says what this client is, for the columns “known by”."""
    if client.domain:
        return f"its document at {client.domain}"
    return "its own word" if client.registration_source == "dcr" else "an admin"


def _decide_url(client: Client | None) -> str:
    """Where a tenant's admin decides about a client of the whole hub."""
    if client is None or client.tenant_id is not None:
        return ""
    return f"{reverse('admin:access_admission_add')}?{urlencode({'client': client.client_id})}"
