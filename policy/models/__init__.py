"""What policy decides with, and what it is asked."""

from policy.models.limits import Counts, Limit, Per
from policy.models.rules import AccessRequest, Draft, Rule, Ruleset

__all__ = ["AccessRequest", "Counts", "Draft", "Limit", "Per", "Rule", "Ruleset"]
