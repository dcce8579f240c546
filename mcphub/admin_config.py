"""Tells Django which admin site to use, and keeps it to the hub's own pages."""

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig

_FOREIGN = ("oauth2_provider.", "allauth.")


class HubAdminConfig(AdminConfig):
    default_site = "mcphub.admin_site.HubAdminSite"

    def ready(self) -> None:
        """Libraries register pages of their own, which know nothing of tenants and roles: those are taken off."""
        super().ready()
        for model, page in list(admin.site._registry.items()):
            if type(page).__module__.startswith(_FOREIGN):
                admin.site.unregister(model)
