from django.urls import URLPattern, path
from django.views.generic import RedirectView

from access.consent import connected, views

urlpatterns: list[URLPattern] = [
    path("authorize", views.authorize, name="authorize"),
    path("account/", RedirectView.as_view(pattern_name="connected-apps"), name="account"),
    path("account/apps/", connected.connected_apps, name="connected-apps"),
    path("account/apps/<int:consent_id>/agree", connected.agree_app, name="agree-app"),
    path("account/apps/<int:consent_id>/revoke", connected.revoke_app, name="revoke-app"),
    path("account/apps/revoke-all", connected.revoke_all_apps, name="revoke-all-apps"),
]
