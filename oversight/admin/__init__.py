"""Oversight in the admin."""

from oversight.admin.requests import AccessRequestAdmin
from oversight.admin.rules import RuleAdmin
from oversight.admin.switches import SwitchAdmin

__all__ = ["AccessRequestAdmin", "RuleAdmin", "SwitchAdmin"]
