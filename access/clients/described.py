"""Clients that a metadata document describes: known when they are asked for, kept while fresh, read again in time."""

import datetime
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from access import refusals
from access.clients import documents, logos, outbound, throttle
from access.clients.documents import Document, Unusable
from access.clients.logos import Logo
from access.models import Client, digest_of
from audit import changes

log = logging.getLogger(__name__)

GOOD_FOR = datetime.timedelta(days=7)
"""How long what was read last serves while the document cannot be read."""
UNUSED_FOR = datetime.timedelta(days=1)
"""How long a client that nobody has let in is kept after its document was read last; asked for again, it is back."""
_SOON = datetime.timedelta(minutes=5)
_FAILED_SECONDS = 60.0
_THROTTLED = "document_throttled"
_MOST_FAILURES = 1000
_MOST_AT_ONCE = 20

_flights: outbound.SingleFlight[tuple[Document, Logo | None]] = outbound.SingleFlight(most=50)
_turns = outbound.Turns(each=2)
_failures: OrderedDict[str, tuple[float, Unusable]] = OrderedDict()


def ensure(client_id: str, *, address: str) -> str | None:
    """Make sure that a client whose id is an https URL is known and fresh; does nothing for other ids.

    Answers why its document cannot be used, as a sentence for people, or None. Waits for a network: call it outside
    transactions. A refusal leaves an entry of the platform's, because no tenant is concerned yet.
    """
    if not client_id.startswith("https://"):
        return None
    try:
        documents.check_url(client_id)
        _ensure(client_id, address)
    except Unusable as problem:
        _record(client_id, problem, address)
        return problem.says
    return None


def _ensure(client_id: str, address: str) -> None:
    kept = Client.objects.filter(client_id=client_id).first()
    if kept and not _stale(kept):
        return
    try:
        with _turn(client_id, address):
            _admit(client_id, address)
            _refresh(client_id, kept)
    except Unusable as problem:
        if not (problem.passing and kept and kept.fetched_at and kept.fetched_at > timezone.now() - GOOD_FOR):
            raise
        log.info("the metadata document of client %s cannot be read: %s", kept.pk, problem.reason)


@contextmanager
def _turn(client_id: str, address: str) -> Iterator[None]:
    """Raise Unusable when too much is being read, for this address or in all.

    That is not remembered, and of an address not even counted: it says nothing about the document, which others want.
    """
    try:
        with _turns.taken(throttle.source(address), client_id):
            yield
    except outbound.Busy:
        says = "The hub is reading many descriptions right now. Try again in a moment."
        raise Unusable(_THROTTLED, says, passing=True) from None


def _stale(client: Client) -> bool:
    """Whether its document has to be read again. One from elsewhere has none; a blocked one is left alone."""
    if client.registration_source != Client.RegistrationSource.CIMD or client.blocked_at:
        return False
    return not client.live or client.cimd_expires_at is None or client.cimd_expires_at <= timezone.now()


def _admit(client_id: str, address: str) -> None:
    """Raise Unusable when this document failed a moment ago, or is asked for too often, or by this address."""
    failed = _failures.get(client_id)
    if failed and time.monotonic() - failed[0] < _FAILED_SECONDS:
        raise failed[1].with_traceback(None)
    per_minute = settings.CLIENT_DOCUMENTS_PER_ADDRESS
    wait = throttle.take(f"documents:{throttle.source(address)}", cost=60 / per_minute, span=60)
    wait = wait or throttle.take(f"document:{digest_of(client_id)}", cost=60, span=180)
    if wait:
        says = f"The hub is asked for such descriptions too often. Try again in {wait:.0f} seconds."
        raise Unusable(_THROTTLED, says, passing=True)


def _refresh(client_id: str, kept: Client | None) -> None:
    """Read the document and store what it says. Raises Busy, and Unusable, which is remembered for a minute when it is
    the document's fault."""
    try:
        document, logo = _read(client_id, kept)
        if kept is None or kept.used_at is None:
            _count_unused()
        try:
            _store(document, logo)
        except IntegrityError:  # another process stored it first
            _store(document, logo)
    except Unusable as problem:
        if problem.reason != _THROTTLED:
            _failures[client_id] = (time.monotonic(), problem)
        while len(_failures) > _MOST_FAILURES:
            _failures.popitem(last=False)
        raise
    _failures.pop(client_id, None)


def _count_unused() -> None:
    """Count, for the whole hub, a good document of a client that nobody has let in yet: strangers can write as many as
    they like, and each takes room here and in the ledger. Raises Unusable.
    """
    hour = 3600.0
    if throttle.take("documents", cost=hour / settings.CLIENT_REGISTRATIONS, span=hour):
        says = "Too many new programs make themselves known to the hub. Try again in a few minutes."
        raise Unusable(_THROTTLED, says, passing=True)


def _read(client_id: str, kept: Client | None) -> tuple[Document, Logo | None]:
    shown = kept.logo_uri if kept and kept.logo_type else ""
    return outbound.wait(lambda: _flights.run(client_id, lambda: _read_with_logo(client_id, shown)))


async def _read_with_logo(client_id: str, shown: str) -> tuple[Document, Logo | None]:
    """shown: where the logo that is kept came from; it is not fetched again from there."""
    document = await documents.read(client_id)
    wanted = document.logo_uri and document.logo_uri != shown
    return document, await logos.fetch_logo(document.logo_uri) if wanted else None


@transaction.atomic
def _store(document: Document, logo: Logo | None) -> None:
    """Make the client what its document says. Raises Unusable for an id that belongs to another sort of client."""
    sources = Client.RegistrationSource
    kept = Client.objects.select_for_update().filter(client_id=document.url).first()
    if kept and kept.registration_source != sources.CIMD:
        raise Unusable("document_taken", "A client of this name was registered in another way.")
    before = changes.snapshot(kept) if kept else None
    client = kept or Client(
        client_id=document.url,
        registration_source=sources.CIMD,
        authorization_grant_type=Client.GRANT_AUTHORIZATION_CODE,
        client_secret="",
        hash_client_secret=False,
    )
    _describe(client, document, logo)
    client.save()
    after = changes.snapshot(client)
    if before != after:
        verb = "changed" if before else "registered"
        changes.record(
            tenant_id=refusals.PLATFORM, actor="system", verb=verb, subject=client, before=before, after=after
        )
    # One that nobody has used yet goes away unless it is asked for again.
    Client.objects.filter(pk=client.pk, used_at=None).update(lapses_at=timezone.now() + UNUSED_FOR)


def _describe(client: Client, document: Document, logo: Logo | None) -> None:
    signs = document.auth_method != "none"
    client.name = document.name
    client.redirect_uris = " ".join(document.redirect_uris)
    client.client_type = Client.CLIENT_CONFIDENTIAL if signs else Client.CLIENT_PUBLIC
    client.auth_method = document.auth_method
    client.jwks, client.jwks_uri = document.jwks, document.jwks_uri
    client.client_uri = document.client_uri
    if logo or document.logo_uri != client.logo_uri:
        client.logo, client.logo_type = (logo.content, logo.media_type) if logo else (None, "")
    client.logo_uri = document.logo_uri
    client.fetched_at = timezone.now()
    client.cimd_expires_at = client.fetched_at + datetime.timedelta(seconds=document.seconds)


async def refresh_due() -> None:
    """Read the documents again that are in use and about to be stale, so that nobody has to wait for it."""
    await sync_to_async(_refresh_due, thread_sensitive=False)()


def _refresh_due() -> None:
    try:
        now = timezone.now()
        due = Client.objects.filter(
            registration_source=Client.RegistrationSource.CIMD,
            blocked_at=None,
            used_at__gt=now - datetime.timedelta(days=1),
            cimd_expires_at__lt=now + _SOON,
        )
        for client in list(due.order_by("cimd_expires_at")[:_MOST_AT_ONCE]):
            _refresh_one(client)
    finally:
        connection.close()  # this thread's own, given back to the pool


def _refresh_one(client: Client) -> None:
    every = _SOON.total_seconds() - 60
    if throttle.take(f"refresh:{digest_of(client.client_id)}", cost=every, span=every):
        return  # this process or another has just tried
    try:
        with _turn(client.client_id, ""):
            _refresh(client.client_id, client)
    except Unusable as problem:
        _record(client.client_id, problem, "")


def _record(client_id: str, problem: Unusable, address: str) -> None:
    refusals.record(
        tenant_id=None, reason=problem.reason, client=client_id, address=address, detail={"why": problem.why}
    )
