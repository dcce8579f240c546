"""Tells Django which admin site to use."""

from django.contrib.admin.apps import AdminConfig


class HubAdminConfig(AdminConfig):
    default_site = "mcphub.admin_site.HubAdminSite"
