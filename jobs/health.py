"""How the whole hub's jobs do, in numbers that belong to no tenant."""

from dataclasses import dataclass

from django.db import connection

LATE = 60.0
"""Seconds of waiting after which somebody should look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """oldest_wait: seconds, None when nothing waits. ended, failed: within the last hour. slots: jobs at once."""

    queued: int
    oldest_wait: float | None
    running: int
    workers: int
    slots: int
    ended: int
    failed: int

    @property
    def failing(self) -> float | None:
        """The share of the last hour's jobs that failed, were interrupted or expired; None when none ended."""
        return self.failed / self.ended if self.ended else None

    @property
    def late(self) -> bool:
        return self.oldest_wait is not None and self.oldest_wait > LATE


def health() -> Health:
    """As things are now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT queued, oldest_wait, running, workers, slots, ended, failed FROM jobs_health()")
        queued, oldest_wait, running, workers, slots, ended, failed = cursor.fetchone()
    return Health(
        queued=queued,
        oldest_wait=oldest_wait,
        running=running,
        workers=workers,
        slots=int(slots),
        ended=ended,
        failed=failed,
    )
