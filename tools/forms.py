"""The forms for tools and connections."""

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from lib.detect.attacks import DETECTORS
from lib.fetch import allowance_of
from tenants.administration import TenantForm
from tenants.fields import ChecksField, JSONTextField, ListField
from tenants.models import Member, Scope
from tools import actions
from tools.cleaning import Cleaning
from tools.config_form import config_errors, config_fields, model_fields, read_config, read_model
from tools.kinds import KINDS, derived
from tools.models import Auth, Connection, Tool, empty_input

JOB_FIELDS = (
    "runs", "wait", "most_attempts", "replay_seconds", "keep_hours", "patience_minutes", "priority", "task_required",
)  # fmt: skip
"""How its calls run; all but the first matter only to jobs."""
CLEANING = "cleaning-"
"""How the fields of a Cleaning begin in the form."""
SAFETY_FIELDS = (
    "inspect", "high_risk", "untrusted", *(f"{CLEANING}{name}" for name in Cleaning.model_fields), "units",
)  # fmt: skip
"""What is looked for in arguments, what is taken out of results, and what a call spends."""


class ToolForm(TenantForm):
    """A tool's draft, with the fields of every kind's config; only those of the chosen kind count."""

    kind = forms.ChoiceField(
        choices=[(name, name) for name in KINDS],
        widget=UnfoldAdminSelectWidget,
        help_text="How it runs. The fields below belong to the kind.",
    )
    input_schema = JSONTextField(initial=empty_input, help_text="JSON Schema 2020-12 of the arguments.")
    output_schema = JSONTextField(
        required=False, rows=6, help_text="JSON Schema 2020-12 of the result; empty when it only gives text."
    )
    tags = ListField(required=False, help_text="Words to group tools by, with commas between.")

    class Meta:
        model = Tool
        fields = [
            "name", "title", "description", "input_schema", "output_schema", "read_only", "destructive", "idempotent",
            "open_world", "scopes", "tags", "icon", "timeout", "max_result", "kind", "connection", *JOB_FIELDS,
            "inspect", "high_risk", "untrusted", "units",
        ]  # fmt: skip
        widgets: ClassVar = {"description": UnfoldAdminTextareaWidget({"rows": 6}), "icon": UnfoldAdminTextInputWidget}
        labels: ClassVar = {
            "read_only": "Reads only",
            "open_world": "Reaches beyond",
            "max_result": "Most result",
            "wait": "The host waits",
            "most_attempts": "Tries",
            "replay_seconds": "The same call joins",
            "keep_hours": "Result is kept",
            "patience_minutes": "May wait to start",
            "task_required": "Only for hosts that follow tasks",
            "high_risk": "High risk",
            "untrusted": "Holds what others wrote",
            "units": "Units a call spends",
        }
        help_texts: ClassVar = {
            "timeout": "Seconds it may take. Most hosts give up after 30 to 60; what takes longer should run as a job, "
            "which may take up to a day.",
            "runs": "While the host waits: for what answers within seconds. As a job: for what may take longer. A job "
            "goes on when the host gives up or the hub restarts, and people follow it under Jobs. Starting one costs "
            "about a hundredth of a second more.",
            "wait": "Seconds, 20 at the most. A host gets the result itself when the job ends in this time, and a "
            "handle to ask again with when it does not.",
            "most_attempts": "How often it is tried when a worker is lost or the hub stops. Once it has begun it is "
            "tried again only when “Idempotent” is ticked or its upstream can be asked how far it got.",
            "replay_seconds": "Seconds. Hosts that time out call again: the same call by the same caller within this "
            "time is given the job that is there, and nothing is done twice. 0 starts a new one each time.",
            "keep_hours": "Hours after its end in which the result can be fetched, 720 (30 days) at the most.",
            "patience_minutes": "Minutes. When no worker was free for so long, it expires instead of starting late.",
            "priority": "From -10 to 10: a job of a higher one starts before the others of this tenant. Jobs of other "
            "tenants are not affected.",
            "high_risk": "The classifier judges its arguments as well, on this machine, which takes some milliseconds. "
            "What it finds is for rules to judge.",
            "untrusted": "Its results hold mails, tickets, pages or whatever else others wrote. Hosts and models are "
            "told so, and text in it that reads like instructions is marked.",
            "task_required": "Hosts that cannot follow a task by themselves are refused and told so. Leave it off to "
            "let them use get_job_status and get_job_result.",
        }

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for kind in KINDS:
            config = self.instance.config if kind == self.instance.kind else {}
            self.fields.update(config_fields(kind, config))
        self.fields.update(model_fields(Cleaning, CLEANING, self.instance.cleaning))
        self.fields["inspect"] = ChecksField(
            [(name, f"{one.label}: {one.help}") for name, one in DETECTORS.items()],
            label="Its arguments are searched for",
            help_text="What is found decides nothing by itself: rules deny, warn or ask a person by it.",
        )
        self.fields["scopes"] = ChecksField(
            self._scopes(), help_text="Everything a caller needs. Without any, every member may use it."
        )
        connections = Connection.objects.filter(tenant=self.tenant)
        self.fields["connection"] = forms.ModelChoiceField(
            connections, required=False, widget=UnfoldAdminSelectWidget, help_text="Where its upstream is."
        )

    def _scopes(self) -> list[tuple[str, str]]:
        known = {scope.name: f"{scope.name}: {scope.description}" for scope in Scope.objects.filter(tenant=self.tenant)}
        gone = {name: f"{name} (no such scope any more)" for name in self.instance.scopes if name not in known}
        return [*known.items(), *gone.items()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.instance.cleaning = read_model(Cleaning, CLEANING, cleaned)
        kind = cleaned.get("kind")
        if kind:
            config = read_config(kind, cleaned)
            self.instance.config = config
            for field, sentence in config_errors(kind, config):
                self.add_error(field, sentence)
            self._take_schemas(kind, config, cleaned)
        return cleaned

    def _take_schemas(self, kind: str, config: dict[str, Any], cleaned: dict[str, Any]) -> None:
        """A schema nobody wrote comes from the kind, when the kind knows it."""
        known = derived(kind, config)
        if known and cleaned.get("input_schema") == empty_input() and not cleaned.get("output_schema"):
            cleaned |= {"input_schema": known.input_schema, "output_schema": known.output_schema}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        try:
            actions.check(self.instance, self.tenant.pk)
        except ValidationError as problem:
            for field, sentences in problem.message_dict.items():
                shown = "kind" if field == "config" and not self.errors else field
                if shown in self.fields and shown not in self.errors:
                    self.add_error(shown, sentences)


class ConnectionForm(TenantForm):
    """A connection. Its secret goes in and never comes out again."""

    new_secret = forms.CharField(
        required=False,
        strip=False,
        max_length=10_000,
        label="Set a new secret",
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}, render_value=False),
        help_text="The token, password or key. It is sealed at once and cannot be shown again. "
        "Leave empty to keep the one that is set.",
    )
    allow_hosts = ListField(
        required=False,
        lines=True,
        help_text="Private hosts its tools may reach, one per line: 10.1.2.3, 10.0.0.0/8 or tickets.internal. "
        "Leave empty for public addresses only, which is the safe choice: whatever is listed here can be reached by "
        "everybody who can call one of its tools.",
    )

    class Meta:
        model = Connection
        fields = ["name", "base_url", "auth", "auth_name", "username", "allow_hosts"]
        widgets: ClassVar = {"base_url": UnfoldAdminTextInputWidget}
        labels: ClassVar = {
            "base_url": "Base URL",
            "auth": "With",
            "auth_name": "Header or parameter",
            "username": "User name",
        }

    def clean_base_url(self) -> str:
        url: str = self.cleaned_data["base_url"]
        if not url.startswith(("http://", "https://")):
            raise ValidationError("The base URL starts with https:// or http://.")
        if "@" in url.split("://", 1)[1].split("/", 1)[0]:
            raise ValidationError("The base URL must not carry a user name or password; set them below.")
        if "?" in url or "#" in url:
            raise ValidationError("The base URL ends with its path, without ? or #.")
        return url

    def clean_allow_hosts(self) -> list[str]:
        hosts: list[str] = self.cleaned_data["allow_hosts"]
        try:
            allowance_of(frozenset(hosts))
        except ValueError as problem:
            raise ValidationError(str(problem)) from None
        return hosts

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("auth") in (Auth.HEADER, Auth.QUERY) and not cleaned.get("auth_name"):
            self.add_error("auth_name", "Name the header or query parameter that carries the secret.")
        if cleaned.get("auth") == Auth.BASIC and not cleaned.get("username"):
            self.add_error("username", "Basic authentication needs a user name.")
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors and not self.cleaned_data["new_secret"]:
            self._heed(actions.check_secret_stays)
        if not self.errors and not self.standing.staff:
            self._heed(actions.check_private_hosts)
        if not self.errors:
            self._heed(actions.check_move)

    def _heed(self, rule: Callable[[Connection], None]) -> None:
        try:
            rule(self.instance)
        except ValidationError as problem:
            self.add_error(None, problem)


class TrialForm(forms.Form):
    """Who tries a draft with which arguments."""

    member: "forms.ModelChoiceField[Member]" = forms.ModelChoiceField(
        queryset=None, widget=UnfoldAdminSelectWidget, help_text="It runs with everything this member's role may hold."
    )
    arguments = JSONTextField(rows=8, help_text="A JSON object.")

    def clean_arguments(self) -> dict[str, Any]:
        arguments = self.cleaned_data["arguments"]
        if not isinstance(arguments, dict):
            raise ValidationError('Arguments are a JSON object, like {"query": "invoice"}.')
        return arguments
