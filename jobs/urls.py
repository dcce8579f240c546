from django.urls import path

from jobs import callbacks, confirm_pages, inbox, pages

urlpatterns = [
    path("jobs/", pages.my_jobs, name="jobs"),
    path("jobs/<uuid:job_id>/", pages.job, name="job"),
    path("jobs/<uuid:job_id>/live", pages.live, name="job-live"),
    path("jobs/<uuid:job_id>/cancel", pages.cancel, name="cancel-job"),
    path("jobs/<uuid:job_id>/repeat", pages.repeat, name="repeat-job"),
    path("jobs/<uuid:job_id>/answer", inbox.answer, name="answer-reviewer"),
    path("approvals/", inbox.inbox, name="approvals"),
    path("approvals/<uuid:approval_id>/", inbox.approval, name="approval"),
    path("approvals/<uuid:approval_id>/live", inbox.live, name="approval-live"),
    path("approvals/<uuid:approval_id>/decide", inbox.decide, name="decide"),
    path("confirm/<uuid:confirmation_id>/", confirm_pages.confirm, name="confirm"),
    path("c/<str:token>", callbacks.call_back, name="call-back"),
]
