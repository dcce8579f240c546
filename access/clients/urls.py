"""Where programs register themselves, and where their logos are."""

from django.urls import path

from access.clients import logos, registration

urlpatterns = [
    path("register", registration.register, name="oauth-register"),
    path("logo/<int:pk>", logos.logo, name="client-logo"),
]
