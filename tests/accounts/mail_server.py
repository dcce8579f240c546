"""A mail server on loopback that greets when it is told to, and keeps what it is given."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class MailServer:
    """greets: set while it answers at all; mails: the texts it took, each announced by `took`."""

    port: int
    greets: threading.Event = field(default_factory=threading.Event)
    mails: list[str] = field(default_factory=list)
    took: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@contextlib.contextmanager
def running() -> Iterator[MailServer]:
    """As much of SMTP (RFC 5321) as sending takes. It refuses recipients at refused.example."""

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            server.greets.wait(30)
            self._say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "DATA":
                    self._take()
                elif word == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("550 nobody" if "refused.example" in line else "250 fine")

        def _take(self) -> None:
            self._say("354 go on")
            lines = iter(self.rfile.readline, b".\r\n")
            server.mails.append(b"".join(lines).decode())
            server.took.release()
            self._say("250 taken")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as listener:
        server = MailServer(port=listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        yield server
        server.greets.set()
        listener.shutdown()
        thread.join()
