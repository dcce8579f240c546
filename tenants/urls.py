from django.urls import path

from tenants import views

urlpatterns = [
    path("join/", views.join, name="join"),
    path("join/<str:secret>", views.follow, name="follow-invitation"),
]
