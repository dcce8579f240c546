from django.urls import path

from jobs import callbacks, pages

urlpatterns = [
    path("jobs/", pages.my_jobs, name="jobs"),
    path("jobs/<uuid:job_id>/", pages.job, name="job"),
    path("jobs/<uuid:job_id>/live", pages.live, name="job-live"),
    path("jobs/<uuid:job_id>/cancel", pages.cancel, name="cancel-job"),
    path("jobs/<uuid:job_id>/repeat", pages.repeat, name="repeat-job"),
    path("c/<str:token>", callbacks.call_back, name="call-back"),
]
