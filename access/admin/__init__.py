"""The admin's pages of everything that opens the door."""

from access.admin import admissions, clients, issuers, keys

__all__ = ["admissions", "clients", "issuers", "keys"]
