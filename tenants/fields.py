"""Form fields for what our tables hold: lists and JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from lib.html import pretty


class ListField(forms.CharField):
    """A list of words: one per line when `lines`, else with commas between."""

    def __init__(self, *, lines: bool = False, **kwargs: Any):
        self._glue = "\n" if lines else ", "
        widget = UnfoldAdminTextareaWidget({"rows": 3}) if lines else UnfoldAdminTextInputWidget()
        super().__init__(**{"widget": widget, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return self._glue.join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        words = value if isinstance(value, list) else re.split(r"[,\r\n]+", value or "")
        return [word.strip() for word in words if word.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))


class ChecksField(forms.MultipleChoiceField):
    """Some of a known list, as checkboxes; a list of names in, a sorted list of names out."""

    def __init__(self, names: Sequence[tuple[str, str]], **kwargs: Any):
        widget = UnfoldAdminCheckboxSelectMultipleWidget
        super().__init__(**{"choices": names, "required": False, "widget": widget, **kwargs})

    def clean(self, value: Any) -> list[str]:
        return sorted(super().clean(value))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


class JSONTextField(forms.CharField):
    """JSON in a monospaced box, indented; says in which line it stops being JSON. Empty means absent (None)."""

    def __init__(self, *, rows: int = 12, **kwargs: Any):
        attrs = {"rows": rows, "class": "mh-json", "spellcheck": "false", "autocomplete": "off"}
        super().__init__(**{"widget": UnfoldAdminTextareaWidget(attrs), "strip": True, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return value if value is None or isinstance(value, str) else pretty(value)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, dict | list | bool | int | float):
            return value
        if not (text := value.strip()):
            return None
        try:
            value = json.loads(text, parse_constant=_no_constant)
            storable = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as problem:
            raise forms.ValidationError(f"Not JSON: {problem}.") from None
        if b"\\u0000" in storable:
            raise forms.ValidationError("Text in it has a NUL character, which cannot be stored.")
        try:
            orjson.dumps(value)
        except TypeError as problem:  # the base of orjson's own error
            raise forms.ValidationError(
                f"Hosts cannot be sent this: {problem}. Write whole numbers beyond 64 bits as text."
            ) from None
        return value

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        return None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except forms.ValidationError:
            return True
