"""kombu's pgmq transport, mended in one place: a worker whose acknowledgement failed hears of messages again.

An acknowledgement that comes after a long job may be the first to find that Postgres was restarted. kombu logs that it
failed and counts the message as still being worked on, for ever; with a prefetch of one the worker then takes no other,
while the connection, which its pool has replaced meanwhile, looks well.
"""

import logging
from typing import Any

import psycopg
from kombu.transport import TRANSPORT_ALIASES, pgmq

log = logging.getLogger(__name__)


class Channel(pgmq.Channel):
    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        """A message that could not be acknowledged comes back after its visibility timeout: a spare bell, no harm."""
        try:
            super().basic_ack(delivery_tag, multiple=multiple)  # type: ignore[no-untyped-call]
        except psycopg.Error as problem:
            log.warning("a message could not be acknowledged: %s", type(problem).__name__)
            self.qos.ack(delivery_tag)


class Transport(pgmq.Transport):
    Channel = Channel


def use() -> None:
    """Make this what `pgmq://` means."""
    TRANSPORT_ALIASES["pgmq"] = f"{__name__}:Transport"
