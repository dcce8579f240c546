"""The admin's pages of everything that opens the door."""

from access.admin import clients, issuers, keys

__all__ = ["clients", "issuers", "keys"]
