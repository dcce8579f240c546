"""What a run comes to: every fact it left behind is compared with what was promised. Pure; see test_verdict.py."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.reliability.hosts import Wish

ENDED = frozenset({"succeeded", "failed", "cancelled", "interrupted", "expired"})
_OUTCOME = {"succeeded": "ok", "interrupted": "interrupted"}
_MAY_INTERRUPT = frozenset({"process_gone", "hub_stopped"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A job as its row says. number: which wish it serves. free: nobody holds it, and no lease is open. dead: its lease
    was over long ago, and it was not taken back."""

    id: str
    number: int
    state: str
    reason: str = ""
    attempts: int = 1
    most_attempts: int = 10
    free: bool = True
    dead: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A ledger row about a job or one of its attempts. call: the attempt's or the job's id."""

    job: str
    event: str
    call: str
    outcome: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything a run left behind. marks: the side effects, as their tool wrote them outside the hub."""

    wishes: Sequence[Wish]
    promised: Mapping[int, str]
    rows: Sequence[Row]
    marks: Sequence[int]
    ledger: Sequence[Entry]
    others: Sequence[str] = field(default=())


def complaints(facts: Facts) -> list[str]:
    """What went wrong, a sentence each; none when every promise was kept."""
    return [
        *_promises(facts),
        *_ends(facts),
        *_side_effects(facts),
        *_explanations(facts),
        *facts.others,
    ]


def _promises(facts: Facts) -> Iterator[str]:
    there = {row.id for row in facts.rows}
    for wish in facts.wishes:
        job = facts.promised.get(wish.number)
        if job is None:
            yield f"call {wish.number} was never accepted"
        elif job not in there:
            yield f"LOST: job {job} of call {wish.number} was promised and has no row"
    taken = Counter(row.number for row in facts.rows)
    yield from (
        f"TWICE: call {wish.number} may take effect once and has {taken[wish.number]} jobs"
        for wish in facts.wishes
        if not wish.idempotent and taken[wish.number] > 1
    )


def _ends(facts: Facts) -> Iterator[str]:
    wishes = {wish.number: wish for wish in facts.wishes}
    dead = sum(row.dead for row in facts.rows)
    for row in facts.rows:
        if row.state not in ENDED:
            yield f"STUCK: job {row.id} is {row.state} after {row.attempts} attempts{_why(row, dead)}"
        elif not row.free:
            yield f"job {row.id} is {row.state} and still held"
        elif not _may_end(wishes[row.number], row):
            yield f"job {row.id} of {wishes[row.number].tool} ended {row.state} {row.reason}"


def _why(row: Row, dead: int) -> str:
    """A place that a dead worker holds counts for its tenant and for the hub, until the sweep takes the job back."""
    if row.dead:
        return "; its lease is over and the sweep did not take it back"
    return f"; {dead} places are held by leases that are over" if dead and row.state == "queued" else ""


def _may_end(wish: Wish, row: Row) -> bool:
    """One that may be run again succeeds in the end; the others may have been cut off, and nothing else."""
    if row.state == "succeeded":
        return True
    cut_off = row.state == "interrupted" and row.reason in _MAY_INTERRUPT
    return cut_off and (not wish.idempotent or row.attempts >= row.most_attempts)


def _side_effects(facts: Facts) -> Iterator[str]:
    marks = Counter(facts.marks)
    done = {row.number for row in facts.rows if row.state == "succeeded"}
    for wish in facts.wishes:
        if not wish.idempotent and marks[wish.number] > 1:
            yield f"TWICE: call {wish.number} may take effect once and did {marks[wish.number]} times"
        if wish.number in done and not marks[wish.number]:
            yield f"LOST: call {wish.number} succeeded without its side effect"
    strangers = marks.keys() - {wish.number for wish in facts.wishes}
    yield from (f"side effect {number}, which nobody called for" for number in sorted(strangers))


def _explanations(facts: Facts) -> Iterator[str]:
    """The ledger of a job: accepted once, every attempt started and closed, ended once as its row says."""
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in facts.ledger:
        entries[entry.job].append(entry)
    begun: Counter[int] = Counter()
    for row in facts.rows:
        found = entries[row.id]
        events = Counter(entry.event for entry in found)
        begun[row.number] += events["call.started"]
        if events["job.accepted"] != 1:
            yield f"job {row.id} was accepted {events['job.accepted']} times by the ledger"
        yield from _attempts(row, found)
        yield from _ending(row, found)
    for number, times in Counter(facts.marks).items():
        if times > begun[number]:
            yield f"UNRECORDED: call {number} took effect {times} times and was started {begun[number]} times"


def _attempts(row: Row, found: Iterable[Entry]) -> Iterator[str]:
    attempts: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        if entry.event.startswith("call."):
            attempts[entry.call].append(entry)
    for call, entries in attempts.items():
        events = [entry.event for entry in entries]
        closed = [event for event in events if event != "call.started"]
        if "call.started" in events and len(closed) != 1:
            yield f"attempt {call} of job {row.id} has the entries {events}"
    if row.state == "succeeded" and not any(
        entry.event == "call.finished" and entry.outcome == "ok" for entry in found
    ):
        yield f"job {row.id} succeeded, and no attempt of it did"


def _ending(row: Row, found: Iterable[Entry]) -> Iterator[str]:
    ends = [entry for entry in found if entry.event in ("job.ended", "job.interrupted", "job.expired")]
    if row.state in ENDED and [entry.outcome for entry in ends] != [_OUTCOME.get(row.state, row.state)]:
        said = [f"{entry.event} {entry.outcome}" for entry in ends]
        yield f"job {row.id} is {row.state}, and the ledger ends it with {said}"
