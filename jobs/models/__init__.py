"""Jobs, people's yes to them, and who is told of them."""

from jobs.models.approvals import Approval, Confirmation, Note
from jobs.models.hooks import Delivery, Hook, origin
from jobs.models.jobs import ENDED, HELD, OPEN, Allowance, Callback, Job, State

__all__ = [
    "ENDED",
    "HELD",
    "OPEN",
    "Allowance",
    "Approval",
    "Callback",
    "Confirmation",
    "Delivery",
    "Hook",
    "Job",
    "Note",
    "State",
    "origin",
]
