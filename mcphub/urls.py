"""Every page of the hub. The MCP endpoints and the events of jobs are answered in mcphub.asgi."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from gateway import views as gateway_views
from jobs import downloads
from mcphub import health, pages

urlpatterns = [
    path("", pages.home, name="home"),
    path("favicon.ico", RedirectView.as_view(url=static("mcphub/icon.svg")), name="favicon"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("accounts/", include("mcphub.account_urls")),
    path("", include("access.urls")),
    path("", include("tenants.urls")),
    path("", include("jobs.urls")),
    path("", include("oversight.urls")),
    path("api/v1/", include("jobs.api.urls")),
    path("r/<str:token>", downloads.download, name="result-link"),
    path("t/<slug:slug>/", gateway_views.connect, name="connect"),
    path("t/<slug:slug>/mcp", gateway_views.connect, name="endpoint"),
    path(
        ".well-known/oauth-protected-resource/t/<slug:slug>/mcp",
        gateway_views.resource_metadata,
        name="resource-metadata",
    ),
]
