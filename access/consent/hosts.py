"""How a client is shown to a person. Its name is a stranger's text; its domain is what can be trusted, if anything."""

import datetime
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.urls import reverse
from django.utils import timezone

from access.clients.metadata import clean_name
from access.consent.imitation import imitated
from access.models import Client
from access.oauth import redirects

_MOST_NAME = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A client on a page.

    domain: what vouches for it; empty for a program on the person's own computer. sends_to: where the answer goes, for
    people. named_itself: nobody but itself says what it is called. set_up_here: an admin made it. imitates: the known
    host it may be mistaken for.
    """

    name: str
    initial: str
    logo: str
    domain: str
    sends_to: str
    local: bool
    named_itself: bool
    set_up_here: bool
    imitates: str
    since: str


def host_of(client: Client, redirect_uri: str) -> Host:
    """The client as the consent page shows it; redirect_uri is the checked one the answer will be sent to."""
    vouched = redirects.vouched(redirect_uri)
    manual = client.registration_source == Client.RegistrationSource.MANUAL
    domain = client.domain or (urlsplit(redirect_uri).hostname or "" if vouched else "")
    name = name_of(client, domain)
    known = None if manual else imitated(name, domain)
    return Host(
        name=name,
        initial=initial_of(name),
        logo=logo_of(client),
        domain=domain,
        sends_to=sends_to(redirect_uri),
        local=not vouched,
        named_itself=not manual and not client.domain,
        set_up_here=manual,
        imitates=known.name if known else "",
        since=_day(client.created),
    )


def name_of(client: Client, domain: str = "") -> str:
    """What it calls itself, or where it comes from."""
    return shortened(clean_name(client.name)) or domain or client.domain or "A program without a name"


def initial_of(name: str) -> str:
    """The letter that stands for a logo."""
    return next((letter for letter in name if letter.isalnum()), "?").upper()


def shortened(name: str) -> str:
    """A name that cannot push the page's own words out of sight."""
    return name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 1].rstrip() + "…"


def _day(moment: datetime.datetime) -> str:
    """Long ago needs no hour; on the day itself one is a warning in its own right."""
    return "today" if moment.date() == timezone.now().date() else f"on {moment:%-d %B %Y}"


def sends_to(redirect_uri: str) -> str:
    """Where the answer goes: `claude.ai`, `localhost:51234` (this computer), or the scheme of an installed program."""
    parts = urlsplit(redirect_uri)
    return parts.netloc if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


def logo_of(client: Client) -> str:
    """Where the hub's own copy of its logo is; empty for one without."""
    return reverse("client-logo", args=[client.pk]) if client.logo_type else ""
