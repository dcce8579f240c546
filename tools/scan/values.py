"""What is scanned, where something was found, and what is said about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is. Which one keeps a tool from being published is the tenant's to say."""

    DANGER = "danger"
    WARNING = "warning"
    NOTICE = "notice"


class Where(StrEnum):
    """The parts of a manifest."""

    NAME = "name"
    TITLE = "title"
    DESCRIPTION = "description"
    SCHEMA_TEXT = "schema_text"  # description, title and $comment in a schema
    SCHEMA_VALUE = "schema_value"  # default, enum, examples and const
    SCHEMA_NAME = "schema_name"  # of properties and definitions
    SCHEMA_PATTERN = "schema_pattern"
    SCHEMA_OTHER = "schema_other"  # keywords that JSON Schema does not know, which models are given all the same
    ANNOTATIONS = "annotations"
    ICON = "icon"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """A tool and what stands around it.

    destination: the origin of its connection, "" without one. link_hosts: the tenant's, `*.` for all below. sisters:
    names of the tenant's other tools. unlike: those of them that are marked otherwise or lead elsewhere. method: the
    HTTP method it sends, "" for other kinds.
    """

    manifest: Mapping[str, Any]
    destination: str = ""
    link_hosts: Sequence[str] = ()
    sisters: Sequence[str] = ()
    unlike: Sequence[str] = ()
    method: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One text of a manifest. path: of keywords, as people read it."""

    where: Where
    path: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """What a check found. says: what is so in this case, after what the rule says in general."""

    place: Place
    quote: str
    says: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that people should look at. message: what is so, and why it is a risk. remedy: what to do. where: the
    place in the manifest. quote: what was found there, with nothing hidden in it any more."""

    rule: str
    level: Level
    message: str
    remedy: str
    where: str
    quote: str
