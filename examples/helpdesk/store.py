"""The tickets and comments, in memory and in one JSON file that is replaced whole at every change."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from examples.helpdesk.seed import fresh_data

STATUSES = ("open", "pending", "closed")
GROUPS = ("status", "priority", "tag", "requester")


class DataFileError(Exception):
    """The data file cannot be used; the message says why."""


class Unknown(LookupError):
    """There is no ticket with that number."""


class AlreadyClosed(Exception):
    """The ticket is closed, so it cannot be closed again."""


class Store:
    """Used from one event loop only; a change is on disk when the method returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = self._load()

    def _load(self) -> dict[str, Any]:
        if not self._path.exists():
            data = fresh_data(datetime.now(UTC))
            self._write(data)
            return data
        try:
            data = json.loads(self._path.read_text())
        except (OSError, ValueError) as problem:
            raise DataFileError(f"{self._path} cannot be read: {problem}") from None
        if not isinstance(data, dict) or not {"tickets", "comments"} <= data.keys():
            raise DataFileError(f"{self._path} is not a help desk data file")
        return data

    def _write(self, data: dict[str, Any]) -> None:
        """Beside the file, then over it: a crash leaves the old content or the new, never half of one."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with draft.open("w") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def ticket(self, ticket_id: int) -> dict[str, Any]:
        """One ticket; raises Unknown."""
        for ticket in self._data["tickets"]:
            if ticket["id"] == ticket_id:
                return dict(ticket)
        raise Unknown(ticket_id)

    def search(self, query: str, status: str | None) -> list[dict[str, Any]]:
        """Tickets that contain every word of `query`, those with the words in the subject first, then the newest."""
        words = query.lower().split()
        found = [
            ticket
            for ticket in self._data["tickets"]
            if (status is None or ticket["status"] == status) and all(word in _text(ticket) for word in words)
        ]
        found.sort(key=lambda ticket: ticket["updated_at"], reverse=True)
        found.sort(key=lambda ticket: sum(word not in ticket["subject"].lower() for word in words))
        return found

    def comments(self, ticket_id: int) -> list[dict[str, Any]]:
        """The comments of a ticket, oldest first; raises Unknown."""
        self.ticket(ticket_id)
        return [comment for comment in self._data["comments"] if comment["ticket_id"] == ticket_id]

    def add_comment(self, ticket_id: int, body: str, *, internal: bool, author: str) -> dict[str, Any]:
        """Write a comment and move the ticket's `updated_at`; raises Unknown."""
        self.ticket(ticket_id)
        comment = {
            "id": max((one["id"] for one in self._data["comments"]), default=0) + 1,
            "ticket_id": ticket_id,
            "author": author,
            "body": body,
            "internal": internal,
            "created_at": _now(),
        }
        self._replace(ticket_id, {}, [*self._data["comments"], comment])
        return comment

    def close(self, ticket_id: int) -> dict[str, Any]:
        """Close a ticket; raises Unknown or AlreadyClosed."""
        if self.ticket(ticket_id)["status"] == "closed":
            raise AlreadyClosed(ticket_id)
        self._replace(ticket_id, {"status": "closed"}, self._data["comments"])
        return self.ticket(ticket_id)

    def count(self, group_by: str) -> dict[str, int]:
        """How many tickets there are for each value of `group_by`, the most frequent first."""
        values = [
            value
            for ticket in self._data["tickets"]
            for value in (ticket["tags"] if group_by == "tag" else [ticket[group_by]])
        ]
        return dict(Counter(values).most_common())

    def _replace(self, ticket_id: int, changes: dict[str, Any], comments: list[dict[str, Any]]) -> None:
        """On disk first, so that a full disk refuses the change instead of pretending it."""
        changes = {**changes, "updated_at": _now()}
        tickets = [{**one, **changes} if one["id"] == ticket_id else one for one in self._data["tickets"]]
        data = {"tickets": tickets, "comments": comments}
        self._write(data)
        self._data = data


def _text(ticket: dict[str, Any]) -> str:
    return " ".join([ticket["subject"], ticket["body"], ticket["requester"], *ticket["tags"]]).lower()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
