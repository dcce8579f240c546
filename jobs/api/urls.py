"""Below `/api/v1/`. Each view opens its own tenant scope: a request's tenant is known from its credential."""

from django.urls import path, re_path

from jobs.api import views
from jobs.api.document import document
from tenants.middleware import own_transactions

# Ids and slugs are any text here: one that cannot be right is answered like one that is merely unknown.
urlpatterns = [
    path("openapi.json", document, name="openapi"),
    path("t/<str:slug>/jobs/", own_transactions(views.JobList.as_view()), name="api-jobs"),
    path("t/<str:slug>/jobs/<str:job_id>/", own_transactions(views.JobDetail.as_view()), name="api-job"),
    path("t/<str:slug>/jobs/<str:job_id>/cancel/", own_transactions(views.JobCancel.as_view()), name="api-job-cancel"),
    path("t/<str:slug>/jobs/<str:job_id>/result/", own_transactions(views.JobResult.as_view()), name="api-job-result"),
    re_path("", own_transactions(views.Nothing.as_view())),
]
