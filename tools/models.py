"""Tools as admins describe them: the draft, its published Versions, and the Connections they reach through."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator, URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from lib.fields import WrittenJSON
from tenants.models import Tenant, User

# MCP 2026-07-28, server/tools: 1 to 128 of these characters.
TOOL_NAME = RegexValidator(r"^[A-Za-z0-9_.-]{1,128}$", _("1 to 128 letters, digits, _ . or -"))

UPSTREAM = URLValidator(schemes=["http", "https"])
# MCP basic, data type Icon: hosts take https and data URLs only, as anything else could run or leak something.
PICTURE = RegexValidator(
    r"^(https://[^\s\"'<>]+|data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+)$", _("https: or data:image/…")
)


def empty_input() -> dict[str, Any]:
    """The schema of a tool that takes nothing."""
    return {"type": "object", "properties": {}, "additionalProperties": False}


class Auth(models.TextChoices):
    """How a Connection proves itself to its upstream."""

    NONE = "none", _("Nothing")
    BEARER = "bearer", _("Bearer token")
    BASIC = "basic", _("User name and password")
    HEADER = "header", _("A header")
    QUERY = "query", _("A query parameter")


class Runs(models.TextChoices):
    """Where a call of a tool runs, and how long its host waits."""

    INLINE = "inline", _("While the host waits")
    AUTOMATIC = "automatic", _("As a job, whose host waits a little and is then given a handle")
    BACKGROUND = "background", _("As a job, whose host is given a handle at once")


class Connection(models.Model):
    """Where a tool finds its upstream, and the sealed credentials for it."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="connections")
    name = models.CharField(max_length=100)
    base_url = models.CharField(
        max_length=500, validators=[UPSTREAM], help_text=_("Every request of its tools stays below this URL.")
    )
    auth = models.CharField(max_length=16, choices=Auth.choices, default=Auth.NONE)
    auth_name = models.CharField(
        max_length=100, blank=True, help_text=_("The header's or query parameter's name, such as X-API-Key.")
    )
    username = models.CharField(max_length=200, blank=True)
    secret = models.BinaryField(null=True, blank=True, editable=False)
    allow_hosts = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text=_(
            "Private hosts or networks it may reach, such as 10.1.2.3 or tickets.internal. Empty: public only."
        ),
    )

    enabled = models.BooleanField(default=True, help_text=_("Switched off, its tools are not offered."))

    unrecorded = ("secret",)

    class Meta:
        ordering = ["tenant", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_connection_per_name")]

    def __str__(self) -> str:
        return self.name


class Definition(models.Model):
    """What a draft and a published version have in common."""

    name = models.CharField(max_length=128, validators=[TOOL_NAME], help_text=_("A verb and a noun: search_tickets."))
    title = models.CharField(max_length=128, blank=True, help_text=_("For people."))
    description = models.TextField(
        max_length=8000, help_text=_("For the model: what it does, when to use it, when not, and what it changes.")
    )
    input_schema = WrittenJSON(default=empty_input, help_text=_("JSON Schema 2020-12 of the arguments."))
    output_schema = WrittenJSON(null=True, blank=True, help_text=_("JSON Schema 2020-12 of the result."))
    read_only = models.BooleanField(default=False, help_text=_("It changes nothing."))
    destructive = models.BooleanField(default=True, help_text=_("It may delete or overwrite."))
    idempotent = models.BooleanField(default=False, help_text=_("Calling it twice does no more than calling it once."))
    open_world = models.BooleanField(default=True, help_text=_("It reaches beyond the company's own systems."))
    scopes = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    icon = models.CharField(
        max_length=4000, blank=True, validators=[PICTURE], help_text=_("An https or data URL of a small picture.")
    )
    timeout = models.PositiveIntegerField(
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(86400)],
        help_text=_("Seconds. Most hosts give up after 30 to 60; what takes longer should run as a job."),
    )
    runs = models.CharField(
        max_length=16,
        choices=Runs.choices,
        default=Runs.INLINE,
        help_text=_("A job outlives the host's request and a restart of the hub; it costs some milliseconds."),
    )
    wait = models.PositiveSmallIntegerField(
        default=10,
        validators=[MaxValueValidator(20)],
        help_text=_("Seconds that a host waits for a job that runs automatically, before it is given a handle."),
    )
    most_attempts = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(10)],
        help_text=_("How often a job is tried. One that is not idempotent and has begun is never tried again."),
    )
    replay_seconds = models.PositiveIntegerField(
        default=120,
        validators=[MaxValueValidator(86400)],
        help_text=_("The same call again within so many seconds joins the job instead of starting another."),
    )
    keep_hours = models.PositiveSmallIntegerField(
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(720)],
        help_text=_("How long a job's result is kept."),
    )
    patience_minutes = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(43200)],
        help_text=_("A job that has not started by then expires."),
    )
    priority = models.SmallIntegerField(
        default=0,
        validators=[MinValueValidator(-10), MaxValueValidator(10)],
        help_text=_("Before or after the other jobs of this tenant, from -10 to 10."),
    )
    task_required = models.BooleanField(
        default=False, help_text=_("Only hosts that can follow a task may call it; the others are told so.")
    )
    max_result = models.PositiveIntegerField(
        default=65536,
        validators=[MinValueValidator(256), MaxValueValidator(10_000_000)],
        help_text=_("Bytes of result a model gets at the most."),
    )
    units = models.PositiveIntegerField(
        default=1,
        validators=[MaxValueValidator(1_000_000)],
        help_text=_("What one call spends, in units of your own, such as cents; limits count them by the day."),
    )
    inspect = ArrayField(
        models.CharField(max_length=20),
        default=list,
        blank=True,
        help_text=_("What its arguments are searched for. What is found is for rules to judge."),
    )
    high_risk = models.BooleanField(
        default=False, help_text=_("Its arguments are judged by the classifier as well, which takes a little longer.")
    )
    untrusted = models.BooleanField(
        default=True, help_text=_("Its results hold what others wrote, such as mails, tickets or pages.")
    )
    cleaning = WrittenJSON(default=dict, blank=True, help_text=_("What is taken out of its results, and how."))
    kind = models.CharField(max_length=20, default="http")
    config = WrittenJSON(default=dict, blank=True)
    connection = models.ForeignKey(
        Connection, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text=_("Its upstream.")
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Tool(Definition):
    """A tool of a tenant: its draft, and which published version is live.

    proposed_digest: of what somebody proposed to make live: the draft, or an earlier version. writers: who wrote at the
    draft, or moved the connection it goes through, since it was last published, by user id.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tools")
    enabled = models.BooleanField(default=True, help_text=_("A disabled tool vanishes at once."))
    live = models.ForeignKey(
        "Version", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    proposed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    proposed_digest = models.CharField(max_length=64, blank=True, editable=False)
    proposed_at = models.DateTimeField(null=True, editable=False)
    writers = ArrayField(models.BigIntegerField(), default=list, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    unrecorded = ("updated_at", "proposed_by", "proposed_digest", "proposed_at", "writers")

    class Meta:
        ordering = ["tenant", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="one_tool_per_name")]


class Version(Definition):
    """A published definition. Never changed: the application role may only add and read.

    manifest_hash: of the manifest with the scopes and the destination. destination: the origin that its connection had
    when it was published; empty without one, and for what was published before destinations were kept.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    tool = models.ForeignKey(Tool, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    manifest = WrittenJSON(help_text=_("Exactly what a model reads."))
    manifest_hash = models.CharField(max_length=64)
    destination = models.CharField(max_length=300, blank=True)
    published_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tool", "-number"]
        constraints = [models.UniqueConstraint(fields=["tool", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"
