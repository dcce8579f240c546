"""Writing what opens the door, as verbs: one module a noun."""

from access.actions.keys import check_scopes, issue_key, revoke_key

__all__ = ["check_scopes", "issue_key", "revoke_key"]
