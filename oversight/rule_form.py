"""The form of one rule. It says what `policy.rules.Spec` says, no more and no less, so that the form and the YAML can
never disagree: what was typed is written as a rule is written, and Spec judges it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django import forms
from pydantic import ValidationError as Unfit
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from lib.detect.attacks import DETECTORS
from oversight import rule_words
from oversight.offered import Offered, offered
from oversight.rule_fields import ChangesField, NamesField, rows_of
from policy.actions import fill
from policy.models import Rule
from policy.rules import Spec, problems
from policy.rules.spec import ANY
from policy.rules.written import MAX_RULES
from policy.values import Effect
from tenants.administration import TenantForm
from tenants.models import Role

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "who": ("users", "roles", "clients", "ways"),
    "what": ("tools", "tags", "traits", "kinds", "scopes"),
    "when": ("days", "from", "to", "zone", "since", "until"),
    "before": ("more_than", "seconds", "of", "shared_by"),
    "reviewers": ("roles", "groups", "minutes"),
}
"""The parts of a rule that have fields of their own; on the form they are called `who_users` and so on."""
EXAMPLES: Final = (
    "args.amount > 500 && args.currency != 'EUR'",
    "!args.to.endsWith('@acme.example')",
    "has(args.bcc) && size(args.bcc) > 0",
    "args.lines.exists(line, line.price > 100)",
)
NAMES: Final = {
    "args": "the arguments: args.amount, args.lines[0].price, args['content-type']",
    "user, role, client, way": "who calls",
    "tool, tags": "the tool's name and its tags",
    "found": "the names of what inspection found",
}
"""What a condition can look at."""
_ROLES: Final = {role.value: str(role.label) for role in Role}
_FOUND: Final = {
    ANY: "anything at all",
    **{name: detector.label for name, detector in DETECTORS.items()},
    "too_long": "more than is looked at",
    "classifier": "what the classifier calls an attack",
}


def _names(label: str, choices: Mapping[str, str], helps: str = "", *, more: str = "") -> NamesField:
    return NamesField(choices, label=label, help_text=helps, more=more)


def _line(label: str, helps: str = "", **attrs: str) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=helps, required=False, strip=False, widget=UnfoldAdminTextInputWidget(attrs)
    )


def _number(label: str, helps: str = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=helps, required=False, widget=UnfoldAdminIntegerFieldWidget)


def _choice(label: str, choices: Mapping[str, str]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=[*choices.items()], required=False, widget=UnfoldAdminSelectWidget)


def _text(label: str, helps: str = "", rows: int = 3, attrs: Mapping[str, str] | None = None) -> forms.CharField:
    widget = UnfoldAdminTextareaWidget({"rows": rows, **(attrs or {})})
    return forms.CharField(label=label, help_text=helps, required=False, strip=False, widget=widget)


class RuleForm(TenantForm):
    """One rule of the draft."""

    effect = forms.ChoiceField(choices=[(one.value, one.label) for one in Effect], widget=UnfoldAdminSelectWidget)
    who_roles = _names("Roles", _ROLES)
    who_ways = _names("Ways in", rule_words.WAYS, "How they authenticated.")
    what_traits = _names(
        "Marked", {name: f"those that {said}" for name, said in rule_words.TRAITS.items()}, "All of them."
    )
    condition = _text(
        "Condition",
        "In CEL; it is true or false. What it can look at, and examples, are below.",
        attrs={"class": "mh-json", "spellcheck": "false", "autocomplete": "off"},
    )
    when_days = _names("Days", rule_words.DAYS)
    when_from = _line("Not before", "A time of day, like 09:00.", placeholder="09:00")
    when_to = _line("Until", "The end, not included. Earlier than the start goes over midnight.", placeholder="17:30")
    when_zone = _line("Time zone", "Like Europe/Berlin. Empty is UTC.", placeholder="UTC")
    when_since = _line("Since", "A moment with its zone.", placeholder="2026-12-01T00:00:00Z")
    when_until = _line("Up to", "A moment with its zone.", placeholder="2026-12-31T00:00:00Z")
    where = _names("From", {}, "Addresses or ranges, like 10.0.0.0/8.", more="one per line")
    not_where = _names("Not from", {}, "It matches calls that come from elsewhere.", more="one per line")
    before_more_than = _number("More than", "So many calls that its Who and What match came before.")
    before_seconds = _number("Within seconds")
    before_of = _choice("Calls of", {"tool": "the same tool", "any": "all tools that it matches, together"})
    before_shared_by = _choice(
        "Counted for", {"member": "each member", "credential": "each key or app", "tenant": "the whole tenant"}
    )
    found = _names(
        "Found", _FOUND, "Any of them. Each tool says what its arguments are searched for.", more="names, one per line"
    )
    message = _text("Message", "What the model or the person is told; empty for a sentence with the rule's name.", 2)
    secret = forms.BooleanField(
        required=False, label="Hide it", help_text="For them the tool does not exist. Goes with Who and What only."
    )
    transform = ChangesField(label="Changes", help_text="Made one after the other.")
    reviewers_roles = _names("Members with the role", _ROLES)
    reviewers_minutes = _number("Held for minutes", "Then it expires. 60 when empty.")

    class Meta:
        model = Rule
        fields = ["name", "priority", "effect", "enabled"]
        labels: ClassVar = {"enabled": "In use"}
        help_texts: ClassVar = {"enabled": "Without it the rule is kept and decides nothing."}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._was = _written(self.instance)
        self._offer(offered(self.tenant))
        self.initial = {**_flat(self._was), **self.initial}
        for name, field in self.fields.items():
            if isinstance(field, NamesField):
                field.kept = frozenset(self.initial.get(name) or ())
        self.fields["effect"].initial = self.initial.get("effect") or Effect.DENY.value

    def _offer(self, found: Offered) -> None:
        """The fields whose choices are the tenant's own."""
        patterns = "Any of them. Patterns of names: * is any text, ? any sign."
        clients = "Patterns of names, like Claude*, or one credential, like key:12. A client chooses its own name."
        self.fields |= {
            "who_users": _names("Users", found.users, more="user names, one per line"),
            "who_clients": _names("Clients", found.clients, clients, more="one per line"),
            "what_tools": _names("Tools", found.tools, patterns, more="patterns, one per line"),
            "what_tags": _names("Tags", found.tags, "Any of them.", more="one per line"),
            "what_kinds": _names("Kinds", found.kinds, "Any of them.", more="one per line"),
            "what_scopes": _names("Scopes", found.scopes, "Any that the tool requires.", more="one per line"),
            "reviewers_groups": _names("Members of", found.groups, "Groups.", more="one per line"),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            spec = Spec.model_validate(self._typed(cleaned))
        except Unfit as problem:
            for place, sentence in problems(problem).items():
                field, said = self._field(place, sentence)
                self.add_error(field, said)
        else:
            fill(self.instance, spec)
        if self.instance.pk is None and Rule.objects.filter(tenant=self.tenant).count() >= MAX_RULES:
            self.add_error(None, f"There are {MAX_RULES} rules already, and no more are allowed.")
        return cleaned

    def clean_name(self) -> str:
        """Without the space around it, unless the name had it before."""
        typed, was = str(self.cleaned_data["name"]), str(self.initial.get("name", ""))
        return was if was.strip() == typed else typed

    def _typed(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        """What was typed, as a rule is written. What does not apply to the effect is left out."""
        effect = cleaned["effect"]
        said: dict[str, Any] = {name: cleaned[name] for name in ("name", "priority", "effect", "enabled")}
        condition, message = _whole(cleaned["condition"]), _whole(cleaned["message"])
        said |= {"if": condition if condition.strip() else None, "message": message}
        said |= {name: cleaned[name] for name in ("where", "not_where", "found")}
        said |= {part: self._part(part, cleaned) for part in ("who", "what", "when", "before")}
        if effect == Effect.DENY:
            said["secret"] = cleaned["secret"]
        if effect == Effect.TRANSFORM:
            said["transform"] = cleaned["transform"]
        if effect == Effect.REVIEW:
            said["reviewers"] = self._part("reviewers", cleaned)
        return {name: self._as_it_was(value, self._was.get(name)) for name, value in said.items() if value is not None}

    def _part(self, part: str, cleaned: Mapping[str, Any]) -> dict[str, Any] | None:
        """A part from its fields; None when nothing was said there. Who is asked how often counts when a number is."""
        was = self._was.get(part) or {}
        given = {name: cleaned[f"{part}_{name}"] for name in PARTS[part]}
        said = {name: self._as_it_was(one, was.get(name)) for name, one in given.items() if one not in (None, "", [])}
        if part == "before" and said.keys() <= {"of", "shared_by"}:
            return None
        return said if said or part in self._was else None

    @staticmethod
    def _as_it_was(given: Any, was: Any) -> Any:
        """What was not changed stays exactly as it was: the order of names, the ends of lines."""
        if isinstance(given, str) and isinstance(was, str) and _whole(was) == _whole(given):
            return was
        if isinstance(given, list) and isinstance(was, list) and all(isinstance(one, str) for one in [*given, *was]):
            return [one for one in was if one in given] + [one for one in given if one not in was]
        return given

    def _field(self, place: tuple[int | str, ...], sentence: str) -> tuple[str | None, str]:
        """Where on the form a sentence belongs, and how it reads there, without the path in front of it."""
        said = sentence.partition(": ")[2] if place else sentence
        first, *rest = [str(step) for step in place] or [self.cleaned_data["effect"] * (not place)]
        if first == "transform" and rest:
            return "transform", f"Change {int(rest[0]) + 1}: {said}"
        named = {"if": "condition", "when": "when_from", "before": "before_more_than", "deny": "secret"}
        field = f"{first}_{rest[0]}" if first in PARTS and rest else named.get(first, first)
        return (field if field in self.fields else None), said


def _whole(text: str) -> str:
    """Browsers send the end of a line as two signs."""
    return text.replace("\r\n", "\n")


def _written(row: Rule) -> dict[str, Any]:
    """The rest of a stored rule, as it is written; only what has its usual shape."""
    spec = row.spec if isinstance(row.spec, dict) else {}
    return {name: value for name, value in spec.items() if name not in PARTS or isinstance(value, dict)}


def _flat(written: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as the form's fields hold it."""
    flat = {f"{part}_{name}": (written.get(part) or {}).get(name) for part, names in PARTS.items() for name in names}
    said = {name: written.get(name) for name in ("where", "not_where", "found", "message", "secret")}
    found = {**flat, **said, "condition": written.get("if"), "transform": rows_of(written.get("transform") or [])}
    return {name: value for name, value in found.items() if value is not None}
