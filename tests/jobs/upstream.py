"""An upstream that only starts work and calls back later: an HTTP server on loopback, and what a test has it say."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.serving import Handler, served
from tests.waiting import until

Answer = tuple[int, bytes]


@dataclass
class Asked:
    method: str
    path: str
    body: Any

    @property
    def token(self) -> str:
        """Of the URL it may call back at."""
        return str(self.body["callback_url"]).rpartition("/")[2]


@dataclass
class Upstream:
    """answer: what it says to a request, which it may take its time for. hub: where its call-backs arrive, as the
    URLs' own host is the public one."""

    hub: str
    url: str = ""
    seen: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], Answer] = lambda asked: (202, b"")

    def started(self) -> Asked:
        """The request that started the work, once it is here and however often it came."""
        return until(lambda: [one for one in self.seen if one.method == "POST"])[0]

    def starts(self) -> int:
        return len([one for one in self.seen if one.method == "POST"])

    def call(self, asked: Asked, body: Any, **given: Any) -> httpx2.Response:
        """Call back about what was asked for."""
        return httpx2.post(self.at_hub(asked.body["callback_url"]), json=body, timeout=30, **given)

    def at_hub(self, url: str) -> str:
        return f"{self.hub}{urlsplit(url).path}"


@contextlib.contextmanager
def upstream(hub: str) -> Iterator[Upstream]:
    kept = Upstream(hub=hub)

    class Answers(Handler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = Asked(method=self.command, path=self.path, body=json.loads(body or b"null"))
            kept.seen.append(asked)
            status, said = kept.answer(asked)
            with contextlib.suppress(OSError):  # whoever asked may have been killed meanwhile
                self.give(said, status)

        do_POST = do_GET = do_DELETE = _any

    with served(Answers) as kept.url:
        yield kept
