"""Outside issuers: a tenant's own authorization server instead of the hub's."""

# Unfold annotates its overrides more narrowly than Django lets these methods answer.
# mypy: disable-error-code="override"

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from access.clients import keysets, outbound
from access.models import OutsideIssuer
from access.models.issuers import ALGORITHMS
from access.outside import private_hosts
from lib import db
from tenants import actions
from tenants.administration import TenantAdmin, TenantFilter, TenantForm, confirm, standing, tenant_column
from tenants.fields import ChecksField
from tenants.middleware import own_transactions
from tenants.models import Tenant


class OutsideIssuerForm(TenantForm):
    """Whom to trust, and how its tokens name people and scopes."""

    class Meta:
        model = OutsideIssuer
        fields = ["issuer", "jwks_uri", "algorithms", "claim", "matches", "scope_claim", "enabled"]
        labels = {
            "jwks_uri": "Address of its keys",
            "claim": "Claim for the person",
            "matches": "Compared with",
            "scope_claim": "Claim for the scopes",
        }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["algorithms"] = ChecksField(
            [(name, name) for name in ALGORITHMS],
            required=True,
            error_messages={"required": "Tick how its tokens are signed."},
            help_text="How its tokens are signed. Anything else is refused, whatever a token says of itself.",
        )

    def clean_issuer(self) -> str:
        issuer: str = self.cleaned_data["issuer"]
        if issuer.rstrip("/") == settings.BASE_URL:
            raise ValidationError("This is the hub itself, which issues tokens while no other is trusted.")
        return issuer

    def clean_jwks_uri(self) -> str:
        uri: str = self.cleaned_data["jwks_uri"]
        parts = urlsplit(uri)
        if parts.username is not None or parts.fragment:
            raise ValidationError("This address must not name a user or a fragment.")
        if parts.scheme == "http" and settings.BASE_URL.startswith("https:"):
            raise ValidationError("Who can change what comes from here can sign in as anybody, so it has to be https.")
        return uri


@admin.register(OutsideIssuer)
class OutsideIssuerAdmin(TenantAdmin):
    """For owners: whoever chooses the issuer decides who is who, owners included."""

    form = OutsideIssuerForm
    list_display = ("issuer", tenant_column, "people", "enabled")
    list_filter = (TenantFilter,)
    list_filter_submit = True
    ordering = ("tenant__name",)
    empty_says = (
        "The hub itself lets programs in. A tenant whose company has an authorization server of its own can trust that "
        "one instead; its owners add it here."
    )
    delete_says = "Its tokens are refused from the next request on, and the hub issues tokens for this tenant again."
    shown = ("issuer", "jwks_uri", "algorithms", "claim", "matches", "scope_claim", "enabled")

    def chosen(self, request: HttpRequest) -> Tenant | None:
        tenant = super().chosen(request)
        if tenant is not None and not standing(request).owns(tenant.pk):
            raise PermissionDenied
        return tenant

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(standing(request).owns(tenant) for tenant in self.tenants(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.governs(request, obj) and (obj is None or standing(request).owns(actions.tenant_of(obj)))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def own_urls(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        return (("<path:object_id>/check/", self.check_view, "check"),)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        url = reverse("admin:access_outsideissuer_check", args=[object_id])
        return super().change_view(request, object_id, form_url, {"check_url": url, **(extra_context or {})})

    @own_transactions
    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Reads the keys, and says what was found. Holds no transaction while it waits for them."""
        with db.tenant_scope(self.tenants(request)):
            issuer = self.row(request, object_id)
        back = reverse("admin:access_outsideissuer_change", args=[issuer.pk])
        if request.method == "POST":
            try:
                messages.success(request, _found(issuer))
            except keysets.KeysUnavailable as problem:
                messages.error(request, str(problem))
            return HttpResponseRedirect(back)
        says = f"The hub reads {issuer.jwks_uri} now and says which keys are there. Nothing is changed."
        return confirm(self, request, title="Check the keys", says=says, button="Check the keys", back=back)

    @display(description="people")
    def people(self, issuer: OutsideIssuer) -> str:
        return f"“{issuer.claim}” is {issuer.get_matches_display().lower()}"


def _found(issuer: OutsideIssuer) -> str:
    """What the keys at the issuer's address can check, in a sentence; raises KeysUnavailable."""
    read = partial(keysets.keys, issuer.jwks_uri, allow_hosts=private_hosts(issuer.jwks_uri))
    usable = [key.algorithms & set(issuer.algorithms) for key in outbound.wait(read).keys]
    counts = Counter(name for names in usable for name in names)
    if not counts:
        raise keysets.KeysUnavailable("There are keys, but none for the ticked algorithms, so no token can be checked.")
    listed = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts))
    keys = sum(1 for names in usable if names)
    return f"{keys} key{'' if keys == 1 else 's'} can check tokens, by algorithm: {listed}."
