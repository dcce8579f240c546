"""A tenant whose rules hold calls for a second person, and the people who decide."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import approvals
from jobs.models import Approval
from policy import actions as policy_actions
from policy.models import Rule
from policy.values import Refusal
from tenants.models import Tenant, User
from tests.cast import Cast
from tests.database import apart
from tests.host import MODERN, Answer, Host
from tests.jobs.place import Placed
from tests.postgres import as_app, as_owner
from tools import actions as tool_actions
from tools.models import Tool

ONCE = {"read_only": False, "idempotent": False}
HELD = "Marks need a second person"


def publish(cast: Cast, tenant: Tenant | None = None, **spec: Any) -> None:
    """Publish one rule that holds what `spec` matches."""
    tenant = tenant or cast.acme
    with cast.see(tenant):
        given = {"name": HELD, "effect": "review", "tenant": tenant} | spec
        policy_actions.save_rule(Rule(**given), actor=cast.staff)
        policy_actions.publish(tenant, actor=cast.staff, tools=())


@dataclass(frozen=True, kw_only=True)
class Review:
    """acme, where uma calls a tool that leaves a mark and every such call is held."""

    cast: Cast
    base: str
    tool: Tool
    key: str
    path: Path

    def host(self, revision: str = MODERN) -> Host:
        return Host(self.base, self.cast.acme.slug, self.key, revision)

    def call(self, note: str = "marks") -> Placed:
        """Uma's call, by a host that knows no tasks; the held job."""
        return held_of(self.host().call(self.tool.name, self.arguments(note)))

    def arguments(self, note: str = "marks") -> dict[str, Any]:
        return {"path": str(self.path / note)}

    def approval(self, job: Placed) -> Approval:
        """As anybody of the tenant finds it, from any thread."""

        def find() -> Approval:
            with self.cast.see(self.cast.acme):
                found = Approval.objects.select_related("member", "job__version__tool__live", "tenant")
                return found.get(job_id=job.id)

        return apart(find)

    def decide(self, job: Placed, verb: str, actor: User, **given: Any) -> str:
        """`done`, or the reason why not."""

        def act() -> Refusal | None:
            approval = self.approval(job)
            seen = {"seen_digest": approval.digest} if verb == "approve" else {}
            with self.cast.see(self.cast.acme):
                refused: Refusal | None = getattr(approvals, verb)(approval, actor=actor, **(seen | given))
                return refused

        refusal = apart(act)
        return refusal.reason if refusal else "done"

    def edit(self) -> None:
        """Publish another version of the tool."""
        with self.cast.see(self.cast.acme):
            self.tool.refresh_from_db()
            self.tool.description = f"{self.tool.description} Or more."
            self.tool.save()
            tool_actions.publish(self.tool, actor=self.cast.staff)


def review(cast: Cast, base: str, path: Path, *, reviewed_by: dict[str, Any] | None = None, **fields: Any) -> Review:
    tool = cast.tool(cast.acme, "leave_a_mark", **(ONCE | fields))
    publish(cast, spec={"what": {"tools": ["leave_a_mark"]}} | ({"reviewers": reviewed_by} if reviewed_by else {}))
    return Review(cast=cast, base=base, tool=tool, key=cast.key(cast.uma)[1], path=path)


def held_of(answer: Answer) -> Placed:
    """The job that a host was told of instead of a result."""
    return Placed(id=uuid.UUID(answer.result["_meta"]["mcphub/job"]["job_id"]))


def run_out(job: Placed) -> None:
    """As if its time were over; nobody has looked yet."""
    with as_owner() as conn:
        conn.execute("UPDATE jobs_approval SET expires_at = now() - interval '1 s' WHERE job_id = %s", [job.id])


def lapse() -> None:
    with as_app() as conn:
        conn.execute("SELECT jobs_lapse()")
