"""Clients: how programs become known to the hub, prove themselves, and are let in by tenants."""

from access.clients.described import ensure, refresh_due
from access.clients.throttle import forget

__all__ = ["ensure", "forget", "refresh_due"]
