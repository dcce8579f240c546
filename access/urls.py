"""Every URL of the authorization server and of the pages about access, all at the hub's root: the authorization server
is the hub itself, and these are the paths that 2025-03-26 clients fall back to."""

from access.clients.urls import urlpatterns as clients
from access.consent.urls import urlpatterns as consent
from access.oauth.urls import urlpatterns as oauth

urlpatterns = [*oauth, *consent, *clients]
