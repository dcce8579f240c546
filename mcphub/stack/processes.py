"""Children that do not outlive their parent, and knowing a process again after a restart."""

import ctypes
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable

import psutil

from mcphub.stack.errors import StackError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
# Clock steps move the start time psutil computes by a little; a pid is not reused for the same one that fast.
_SAME_START_SECONDS = 5.0


def dies_with_parent(signum: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child `signum` when this process ends, however it ends (Linux prctl(2)).

    Elsewhere it does nothing; there the next run clears what a killed one left.
    """
    parent = os.getpid()

    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return arrange


def end_with_parent() -> None:
    """Have this process get SIGTERM when the one that started it ends, as `make` does by kill -9 (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def started_at(pid: int) -> float | None:
    """When the living process `pid` began, in seconds of the epoch; None when there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_same(pid: int, start: float) -> bool:
    """Whether `pid` is still the process that began at `start`, and not a later one with its number."""
    now = started_at(pid)
    return now is not None and abs(now - start) < _SAME_START_SECONDS


def stop_group(pid: int, *, seconds: float, first: signal.Signals = signal.SIGTERM) -> None:
    """End the process group that `pid` leads: ask, wait `seconds`, then kill. Returns when none of it is left."""
    members = _group(pid)
    _signal_group(pid, first)
    _, alive = psutil.wait_procs(members, timeout=seconds)
    if alive or _group(pid):
        _signal_group(pid, signal.SIGKILL)
        psutil.wait_procs(_group(pid), timeout=5)


def _group(pgid: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _in_group(process, pgid)]


def _in_group(process: psutil.Process, pgid: int) -> bool:
    try:
        return os.getpgid(process.pid) == pgid and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.Error):
        return False


def _signal_group(pgid: int, signum: signal.Signals) -> None:
    try:
        os.killpg(pgid, signum)
    except ProcessLookupError:
        return
    except PermissionError:
        # macOS answers so for a group of zombies.
        return


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def choose_port(preferred: int | None = None) -> int:
    """`preferred` when it is free, else a free one below the range that outgoing connections are given, so that it
    is likely to be free next time too."""
    if preferred and port_is_free(preferred):
        return preferred
    first = 20000 + os.getpid() * 7 % 10000
    for port in itertools.chain(range(first, 32000), range(20000, first)):
        if port_is_free(port):
            return port
    raise StackError("No port between 20000 and 32000 is free on this machine.")
