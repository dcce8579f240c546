"""What a tenant has standing at the end of a hook: an HTTP server on loopback that answers as it is told."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.serving import Handler, served


@dataclass
class Message:
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """answers: what comes next, as (status, body); 204 when there is nothing left."""

    url: str = ""
    messages: list[Message] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Answers(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            # Before it is answered: who asks how it went may look here at once.
            kept.messages.append(Message(headers=headers, body=body))
            status, said = kept.answers.pop(0) if kept.answers else (204, b"")
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", f"{kept.url}/elsewhere")
            if status != 204:
                self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    with served(Answers) as origin:
        kept.url = f"{origin}/told"
        yield kept
