from django.urls import path

from oversight import pages

urlpatterns = [
    path("t/<slug:slug>/ask", pages.ask, name="ask"),
]
