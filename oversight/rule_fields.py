"""Two form fields that rules need: some names of a list and any others, and rows of changes to arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from tenants.fields import JSONTextField

MOST_ROWS: Final = 20
_BLANK_ROWS: Final = 2
_VERBS: Final = {"set": "Set", "remove": "Remove", "mask": "Mask", "clamp": "Keep within bounds"}
_CELLS: Final = ("verb", "path", "to", "least", "most")
_NUMBERS: Final = ("least", "most")
_json = JSONTextField(required=False)


class _Drawn(forms.Widget):
    """A widget with a template among those of the pages."""

    template_name: str

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return render_to_string(self.template_name, self.get_context(name, value, attrs))


class _Names(_Drawn):
    """Boxes for what is offered, and where `more` is said a text area for anything else, one per line."""

    template_name = "admin/policy/rule/names.html"
    use_fieldset = True

    def __init__(self, offered: Mapping[str, str], *, label: str, more: str):
        self._offered, self._label, self._more = offered, label, more
        super().__init__()

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        names = [one for one in value or [] if one.strip()]
        others = [one for one in names if one not in self._offered]
        boxes = [(one, label, one in names) for one, label in self._offered.items()]
        if not self._more:  # what a rule has and nobody offers can still be seen, and taken out
            boxes += [(one, one, True) for one in others]
        return {
            **super().get_context(name, value, attrs),
            "boxes": boxes,
            "label": self._label,
            "more": self._more,
            "others": "\n".join(others),
            "rows": max(2, min(8, len(others) + 1)),
            "classes": UnfoldAdminTextareaWidget().attrs["class"],
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        ticked = data.getlist(name) if hasattr(data, "getlist") else data.get(name, [])
        typed = data.get(f"{name}_more", "").replace("\r\n", "\n").split("\n")
        return list(dict.fromkeys([*ticked, *typed]))

    def id_for_label(self, id_: str) -> str:
        return ""


class NamesField(forms.Field):
    """A list of names. kept: those that the list has; a line keeps the space around it only where it is one of them."""

    kept: frozenset[str] = frozenset()

    def __init__(self, offered: Mapping[str, str], *, label: str, more: str, **kwargs: Any):
        super().__init__(required=False, label=label, widget=_Names(offered, label=label, more=more), **kwargs)

    def to_python(self, value: Any) -> list[str]:
        lines = [line if line in self.kept else line.strip() for line in value or []]
        return [line for line in lines if line]


class _Changes(_Drawn):
    """Rows of changes, with some that are empty."""

    template_name = "admin/policy/rule/changes.html"
    use_fieldset = True

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        rows: list[Mapping[str, str]] = list(value or [])
        rows += [{}] * min(_BLANK_ROWS if rows else _BLANK_ROWS + 1, MOST_ROWS - len(rows))
        return {
            **super().get_context(name, value, attrs),
            "rows": rows,
            "verbs": _VERBS.items(),
            "most_rows": MOST_ROWS,
            "classes": UnfoldAdminTextInputWidget().attrs["class"],
            "select": UnfoldAdminSelectWidget().attrs["class"],
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        rows = [{cell: data.get(f"{name}-{place}-{cell}", "") for cell in _CELLS} for place in range(MOST_ROWS)]
        return [row for row in rows if any(one.strip() for one in row.values())]

    def id_for_label(self, id_: str) -> str:
        return ""


class ChangesField(forms.Field):
    """Rows as they are typed in, changes as a rule writes them out. What does not go with a row's verb is left out."""

    def __init__(self, **kwargs: Any):
        super().__init__(required=False, widget=_Changes(), **kwargs)

    def to_python(self, value: Any) -> list[dict[str, Any]]:
        return [_change(place, row) for place, row in enumerate(value or [], start=1)]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != (data or []))


def _change(place: int, row: Mapping[str, str]) -> dict[str, Any]:
    verb = row["verb"]
    found: dict[str, Any] = {verb: row["path"]} if verb else {}
    wanted = {"set": ("to",), "clamp": _NUMBERS}.get(verb, ())
    for cell in wanted:
        if row[cell].strip():
            found[cell] = _value(place, cell, row[cell])
    return found


def _value(place: int, cell: str, typed: str) -> Any:
    try:
        return _json.to_python(typed)
    except forms.ValidationError as problem:
        hint = " Text goes between double quotes." if cell == "to" else " Write a number."
        raise forms.ValidationError([f"Change {place}: {said}{hint}" for said in problem.messages]) from None


def rows_of(changes: Sequence[Any]) -> list[dict[str, str]]:
    """Changes as a rule writes them, as rows of the form."""
    return [_row(change) for change in changes if isinstance(change, dict)]


def _row(change: Mapping[str, Any]) -> dict[str, str]:
    verb = next((one for one in _VERBS if change.get(one) is not None), "")
    cells = {cell: orjson.dumps(change[cell]).decode() for cell in ("to", *_NUMBERS) if cell in change}
    return {"verb": verb, "path": str(change.get(verb, "")), **cells}
