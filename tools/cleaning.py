"""How a tool's results are cleaned: what its `clean` says, made ready with what its tenant's tools have in common."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field

from lib.detect import active, disguise, instructions, links, personal, secrets
from lib.detect.known import STAND_IN, Known
from lib.detect.sieve import Sieve

Detector = Literal["email", "phone", "iban", "card", "national_id", "ip"]
Marked = Literal["mark", "remove", "off"]

_HIDDEN: Final = (
    r"[\p{C}\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{2800}\x{3164}\x{ffa0}\x{fe00}-\x{fe0f}"
    r"\x{e0100}-\x{e01ef}&&[^\n\r\t]]|\\u00[01]"
)
"""What may be a hidden character, also as JSON escapes it."""


class Cleaning(BaseModel):
    """What a tool's `cleaning` may say; what it does not say is as here. Secrets that the hub knows are always removed.

    instructions: None marks them in what others wrote, and leaves the rest. links: None marks those to other hosts once
    the tenant names hosts. The descriptions are the help in the tool's form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    secrets: bool = Field(
        default=True,
        title="Secrets are removed",
        description="By their format, and what looks random. Those that the hub itself knows are removed in any case.",
    )
    personal: tuple[Detector, ...] | list[Detector] = Field(
        default=(), title="Personal data that is removed", description="Choose what its readers do not need."
    )
    instructions: Marked | None = Field(
        default=None,
        title="Text like instructions",
        description="By default it is marked in results that hold what others wrote, and left alone in others.",
    )
    invisible: Literal["remove", "off"] = Field(
        default="remove", title="Characters that nobody sees", description="By default they are removed."
    )
    active: Literal["remove", "off"] = Field(
        default="remove",
        title="Active content",
        description="Scripts, frames, pictures that would be loaded. By default it is removed.",
    )
    links: Marked | None = Field(
        default=None,
        title="Links to other hosts",
        description="By default they are marked once the tenant names the hosts that results may link to.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the tools of a tenant have in common. link_hosts: where results may link to. known: its secrets and ours."""

    link_hosts: frozenset[str] = frozenset()
    known: Known = field(default_factory=lambda: of_hub(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that is taken out. name: what it is counted as. is_suspect: whether it may be there, quickly."""

    name: str
    is_suspect: Callable[[str], bool]
    clean: Callable[[str], tuple[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaner:
    """What is taken out of a tool's results, in order.

    sieve: catches what may have to be, but for known secrets, links, and what only looks like instructions.
    marks: what is marked instead.
    """

    steps: tuple[Step, ...] = field(repr=False)
    sieve: Sieve = field(repr=False)
    known: Known = field(repr=False)
    allowed: links.Allowed = field(repr=False)
    marks: frozenset[str]
    secrets: bool
    active: bool
    links: bool
    instructions: bool


def cleaner(written: Mapping[str, Any], *, untrusted: bool, host: str, around: Surroundings) -> Cleaner:
    """For a tool with this `clean`. host: of its upstream, where its results may link to. Raises ValidationError."""
    said = Cleaning.model_validate(written)
    told = said.instructions or ("mark" if untrusted else "off")
    linked = said.links or ("mark" if around.link_hosts else "off")
    allowed = links.allowing(around.link_hosts | ({host} if host else frozenset()))
    every = {
        "invisible": Step(name="invisible", is_suspect=_hidden().catches, clean=disguise.without_invisible),
        "secrets": Step(name="secrets", is_suspect=secrets.is_suspect, clean=secrets.without_secrets),
        "active": Step(
            name="active", is_suspect=active.is_suspect, clean=partial(active.without_active, allowed=allowed)
        ),
        "links": Step(
            name="links",
            is_suspect=partial(links.leads_outside, allowed=allowed),
            clean=partial(links.without_links, allowed=allowed, mark=linked == "mark"),
        ),
        "instructions": Step(
            name="instructions",
            is_suspect=instructions.is_suspect,
            clean=partial(instructions.without_instructions, mark=told == "mark"),
        ),
    }
    on = {
        "invisible": said.invisible == "remove",
        "secrets": said.secrets,
        "active": said.active == "remove",
        "links": linked != "off",
        "instructions": told != "off",
    }
    detectors = tuple(sorted(set(said.personal)))
    known = Step(name="secrets", is_suspect=around.known.catches, clean=around.known.without)
    # Hidden characters split what the others look for, so they go first; what is marked is not to be taken out again.
    order = (
        *(every[name] for name in ("invisible",) if on[name]),
        known,
        *(every[name] for name in ("secrets", "active") if on[name]),
        *(_personal(name) for name in detectors),
        *(every[name] for name in ("links", "instructions") if on[name]),
    )
    return Cleaner(
        steps=order,
        sieve=_sieve(frozenset(name for name, wanted in on.items() if wanted), detectors),
        known=around.known,
        allowed=allowed,
        marks=frozenset(name for name, how in (("instructions", told), ("links", linked)) if how == "mark"),
        secrets=on["secrets"],
        active=on["active"],
        links=on["links"],
        instructions=on["instructions"],
    )


def _personal(name: str) -> Step:
    detector = personal.DETECTORS[name]
    return Step(name="personal", is_suspect=detector.is_suspect, clean=detector.without)


@cache
def _hidden() -> Sieve:
    return Sieve([_HIDDEN])


@lru_cache(maxsize=256)
def _sieve(on: frozenset[str], detectors: tuple[str, ...]) -> Sieve:
    """One for all tools that are cleaned alike, as each takes some memory."""
    patterns = [personal.DETECTORS[name].sieve for name in detectors]
    for name, wanted in (("secrets", secrets.SIEVE), ("active", active.SIEVE), ("invisible", (_HIDDEN,))):
        patterns += wanted if name in on else ()
    if "instructions" in on:
        instructions.rules()  # read here, while nobody waits
        patterns += (*instructions.loose(), *instructions.ENCODED)
    return Sieve(patterns)


def surroundings(link_hosts: Iterable[str], known: Iterable[str]) -> Surroundings:
    """known: the secrets of a tenant's connections."""
    found = frozenset(filter(None, known))
    return Surroundings(link_hosts=frozenset(link_hosts), known=Known(found, beside=of_hub()) if found else of_hub())


def of_hub() -> Known:
    """Finds the hub's own secrets: its keys, and what it presents to its database, broker, storage and mail server."""
    return _known(tuple(sorted({found for found in _own() if found})))


@lru_cache(maxsize=2)
def _known(found: tuple[str, ...]) -> Known:
    return Known(found, exactly=[STAND_IN])


def _own() -> Iterable[str]:
    yield settings.SECRET_KEY
    yield from settings.SEAL_KEYS
    for database in settings.DATABASES.values():
        yield database.get("PASSWORD") or ""
    for url in (settings.CELERY_BROKER_URL, settings.DATABASE_URL, settings.DATABASE_OWNER_URL):
        yield (urlsplit(url).password or "") if "://" in url else ""
    yield settings.EMAIL_HOST_PASSWORD
    yield settings.HELPDESK_TOKEN
    for app in settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]:
        yield app.get("secret") or ""
    yield from settings.STORAGE_SECRETS
