"""The tools of a tenant as its pages about policy see them: what is live, and how it is known."""

from dataclasses import dataclass

from policy.values import Subject
from tools.catalog import subject_of
from tools.models import Tool, Version


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A tool's live version. tool_id: the tool's own row. arguments: the names of those that its schema describes."""

    tool_id: int
    subject: Subject
    arguments: frozenset[str]


def published(tenant_id: int) -> list[Published]:
    """Every live version of the tenant's tools by name, also of one that is switched off and may come back."""
    versions = Version.objects.filter(pk__in=Tool.objects.filter(tenant_id=tenant_id).values("live_id"))
    return [
        Published(tool_id=row["tool_id"], subject=subject_of(row), arguments=_arguments(row["input_schema"]))
        for row in versions.filter(tenant_id=tenant_id).order_by("name").values()
    ]


def subjects(tenant_id: int) -> list[Subject]:
    """The same as policy sees them: what rules are bound to when they are published."""
    return [one.subject for one in published(tenant_id)]


def _arguments(schema: object) -> frozenset[str]:
    described = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(described) if isinstance(described, dict) else frozenset()
