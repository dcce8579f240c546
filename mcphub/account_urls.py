"""The pages of allauth that make sense here: no list of addresses, no codes by mail instead of passwords.

Platform staff keeps people's addresses; what allauth would do on its own page of them leads to Security.
"""

from allauth.account import urls as account
from django.urls import URLPattern, include, path
from django.views.generic import RedirectView

from mcphub import oidc

_LEFT_OUT = {"account_email", "account_confirm_login_code"}

_kept = [page for page in account.urlpatterns if isinstance(page, URLPattern) and page.name not in _LEFT_OUT]

urlpatterns = [
    *_kept,
    path("email/", RedirectView.as_view(pattern_name="mfa_index"), name="account_email"),
    path("2fa/", include("allauth.mfa.urls")),
    path("3rdparty/", include("allauth.socialaccount.urls")),
    path("oidc/<provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("oidc/<provider_id>/login/callback/", oidc.callback, name="openid_connect_callback"),
]
