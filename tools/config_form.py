"""Form fields drawn from a pydantic model, such as a kind's Config: what is simple gets its own widget, what is nested
a JSON box.

Reads the model's JSON Schema, so a new kind has its form without a line here.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from pydantic import BaseModel, ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from tenants.fields import ChecksField, JSONTextField
from tools.kinds import KINDS, parse_config


def field_name(kind: str, name: str) -> str:
    """How the form calls a field of a kind's config."""
    return f"config-{kind}-{name}"


def config_fields(kind: str, config: Mapping[str, Any]) -> dict[str, forms.Field]:
    """The form fields of one kind by their form names, filled from `config`. None is required by the browser or by
    Django: only the chosen kind's fields count, and pydantic judges those."""
    return model_fields(KINDS[kind].Config, field_name(kind, ""), config)


def read_config(kind: str, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """The config that the form's fields say: only what differs from the Config's defaults."""
    return read_model(KINDS[kind].Config, field_name(kind, ""), cleaned)


def config_errors(kind: str, config: dict[str, Any]) -> list[tuple[str, str]]:
    """What pydantic finds wrong, as (form field, sentence naming the path)."""
    try:
        parse_config(kind, config)
    except ValidationError as problem:
        return [_error(kind, one) for one in problem.errors(include_url=False, include_input=False)]
    return []


def model_fields(model: type[BaseModel], prefix: str, values: Mapping[str, Any]) -> dict[str, forms.Field]:
    """The form fields of a pydantic model by their form names, filled from `values`."""
    schema = model.model_json_schema()
    found: dict[str, forms.Field] = {}
    for name, one in schema.get("properties", {}).items():
        field = _field(_flat(one, schema.get("$defs", {})))
        field.required = False
        field.label = str(one.get("title", name)).capitalize()
        needed = "Needed. " if name in schema.get("required", ()) else ""
        field.help_text = f"{needed}{one.get('description', '')}"
        field.initial = values.get(name, one.get("default"))
        found[f"{prefix}{name}"] = field
    return found


def read_model(model: type[BaseModel], prefix: str, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """What the form's fields say: only what differs from the model's defaults."""
    values: dict[str, Any] = {}
    for name, one in model.model_json_schema().get("properties", {}).items():
        value = cleaned.get(f"{prefix}{name}")
        if value in (None, "") or (
            "default" in one and one["default"] == value and type(one["default"]) is type(value)
        ):
            continue
        values[name] = value
    return values


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
        if all(branch == real[0] for branch in real):
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
    if kind == "array" and (words := one.get("items", {}).get("enum")):
        return ChecksField([(word, str(word).replace("_", " ")) for word in words])
    return JSONTextField(rows=4)
