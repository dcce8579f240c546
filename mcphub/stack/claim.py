"""One run for each data folder at a time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mcphub.stack.errors import StackError

_STOPPING = "stopping"
# Long enough for a run whose parent was just killed to notice it, and for one that is stopping to finish.
_NOTICE_SECONDS = 2.0
_STOPPING_SECONDS = 60.0


class Claim:
    """The lock on a data folder, held until this process ends, and a word in it for who waits."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._write(f"running as process {os.getpid()}")

    def say_stopping(self) -> None:
        """Let the next run wait for this one instead of refusing."""
        self._write(_STOPPING)

    def _write(self, word: str) -> None:
        with contextlib.suppress(OSError):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(word)
            self._file.flush()


@contextlib.contextmanager
def only_run(data_dir: Path) -> Iterator[Claim]:
    """Claim `data_dir`, waiting for a run that is stopping; StackError when one runs and goes on running."""
    path = data_dir / "run.lock"
    with path.open("a+") as file:
        begun = time.monotonic()
        while not _claimed(file):
            word = path.read_text()
            if time.monotonic() - begun > (_STOPPING_SECONDS if word == _STOPPING else _NOTICE_SECONDS):
                raise StackError(
                    f"The hub already runs from {data_dir} ({word}): stop that one, or set DATA_DIR to another folder."
                )
            time.sleep(0.05)
        yield Claim(file)


def _claimed(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
