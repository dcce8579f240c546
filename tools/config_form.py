"""Form fields drawn from a kind's pydantic Config: what is simple gets its own widget, what is nested a JSON box.

Reads the Config's JSON Schema, so a new kind has its form without a line here.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from pydantic import ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from tenants.fields import JSONTextField
from tools.kinds import KINDS, parse_config


def field_name(kind: str, name: str) -> str:
    """How the form calls a field of a kind's config."""
    return f"config-{kind}-{name}"


def config_fields(kind: str, config: Mapping[str, Any]) -> dict[str, forms.Field]:
    """The form fields of one kind by their form names, filled from `config`. None is required by the browser or by
    Django: only the chosen kind's fields count, and pydantic judges those."""
    schema = KINDS[kind].Config.model_json_schema()
    found: dict[str, forms.Field] = {}
    for name, one in schema.get("properties", {}).items():
        field = _field(_flat(one, schema.get("$defs", {})))
        field.required = False
        field.label = str(one.get("title", name)).capitalize()
        needed = "Needed. " if name in schema.get("required", ()) else ""
        field.help_text = f"{needed}{one.get('description', '')}"
        field.initial = config.get(name, one.get("default"))
        found[field_name(kind, name)] = field
    return found


def read_config(kind: str, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """The config that the form's fields say: only what differs from the Config's defaults."""
    schema = KINDS[kind].Config.model_json_schema()
    config: dict[str, Any] = {}
    for name, one in schema.get("properties", {}).items():
        value = cleaned.get(field_name(kind, name))
        if value in (None, "") or (
            "default" in one and one["default"] == value and type(one["default"]) is type(value)
        ):
            continue
        config[name] = value
    return config


def config_errors(kind: str, config: dict[str, Any]) -> list[tuple[str, str]]:
    """What pydantic finds wrong, as (form field, sentence naming the path)."""
    try:
        parse_config(kind, config)
    except ValidationError as problem:
        return [_error(kind, one) for one in problem.errors(include_url=False, include_input=False)]
    return []


def _error(kind: str, found: Any) -> tuple[str, str]:
    known = KINDS[kind].Config.model_fields
    path = [str(part) for part in found["loc"]]
    sentence = found["msg"].removeprefix("Value error, ")
    field = field_name(kind, path[0]) if path and path[0] in known else "kind"
    return field, f"{'.'.join(path)}: {sentence}" if len(path) > 1 else sentence


def _flat(one: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A property without `$ref`, and without the null of an optional one."""
    if "anyOf" in one:
        real = [branch for branch in one["anyOf"] if branch.get("type") != "null"]
        if len(real) == 1:
            one = {**one, **real[0]}
            del one["anyOf"]
    if "$ref" in one:
        one = {**one, **definitions.get(one["$ref"].rsplit("/", 1)[-1], {})}
    return one


def _field(one: Mapping[str, Any]) -> forms.Field:
    kind = one.get("type")
    if "enum" in one:
        choices = [(value, value) for value in one["enum"]]
        return forms.ChoiceField(choices=[("", "(default)"), *choices], widget=UnfoldAdminSelectWidget)
    if kind == "boolean":
        return forms.BooleanField(widget=UnfoldBooleanSwitchWidget)
    if kind in ("integer", "number"):
        number = forms.IntegerField if kind == "integer" else forms.FloatField
        low, high = one.get("minimum"), one.get("maximum")
        return number(widget=UnfoldAdminIntegerFieldWidget, min_value=low, max_value=high)
    if kind == "string":
        long = (one.get("maxLength") or 0) > 500 or one.get("format") == "multiline"
        widget = UnfoldAdminTextareaWidget({"rows": 3}) if long else UnfoldAdminTextInputWidget()
        return forms.CharField(max_length=one.get("maxLength"), widget=widget)
    return JSONTextField(rows=4)
