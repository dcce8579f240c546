"""From the engine's errors to problems a model can act on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from lib.schema import render
from lib.schema.walk import Key, Outline, Schema, named
from lib.schema.wording import described, phrase

MAX_ALTERNATIVES = 5
MAX_UNEXPECTED = 20


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an instance.

    `path` is `a.b[0]`, with names that are no plain words quoted, `a["b c"]`, and empty for the whole instance. `found`
    is at most 80 characters and hides values whose schema says `writeOnly` or `format: password`. `message` is the
    sentence to show: where, what was found, what is allowed.
    """

    path: str
    found: str
    allowed: str
    message: str


def problem(keys: Sequence[Key], found: str, allowed: str, hint: str = "") -> Problem:
    place = render.path(keys)
    message = f"{place or 'The value'} is {found}, but must be {allowed}.{hint}"
    return Problem(path=place, found=found, allowed=allowed, message=message)


class Explanation:
    """Explains the errors of one instance."""

    def __init__(self, outline: Outline, instance: Any) -> None:
        self._outline = outline
        self._instance = instance

    def problems(self, error: jsonschema_rs.ValidationError) -> Iterator[Problem]:
        keys, kind = _exact(self._instance, error.instance_path), error.kind
        match kind:
            case Kind.Required(property=name):
                allowed = described(list(self._outline.at([*keys, name]))) or "given"
                yield problem([*keys, name], "missing", allowed)
            case Kind.AdditionalProperties(unexpected=names) | Kind.UnevaluatedProperties(unexpected=names):
                for name in names[:MAX_UNEXPECTED]:
                    yield self._unexpected(keys, name)
            case Kind.PropertyNames(error=inner):
                name = inner.instance if isinstance(inner.instance, str) else ""
                allowed = f"a property whose name is {self._phrase(inner)}"
                yield problem([*keys, name], "a property with this name", allowed)
            case Kind.AnyOf(context=branches) | Kind.OneOfNotValid(context=branches):
                yield from self._alternatives(error.instance_path, branches)
            case _:
                yield self._plain(error)

    def _plain(self, error: jsonschema_rs.ValidationError) -> Problem:
        keys, kind = _exact(self._instance, error.instance_path), error.kind
        found = self._at(keys)
        hint = ""
        if isinstance(kind, Kind.Enum) and isinstance(found, str) and not self._is_secret(keys):
            hint = _did_you_mean(found, [option for option in kind.options if isinstance(option, str)])
        return problem(keys, self._shown(keys, found, kind), self._phrase(error), hint)

    def _phrase(self, error: jsonschema_rs.ValidationError) -> str:
        return phrase(error.kind, self._schema_of(error))

    def _unexpected(self, keys: Sequence[Key], name: str) -> Problem:
        known = sorted({each for schema in self._outline.at(keys) for each in named(schema.get("properties"))})
        allowed = f"one of the properties {render.choices(known)}" if known else "left out: no property is allowed here"
        return problem([*keys, name], "an unexpected property", allowed, _did_you_mean(name, known))

    def _alternatives(
        self, place: Sequence[Key], branches: Sequence[Sequence[jsonschema_rs.ValidationError]]
    ) -> Iterator[Problem]:
        """Explain the branch that was meant, when it can be told, and otherwise list what the branches allow."""
        keys = _exact(self._instance, place)
        meant = [branch for branch in branches if not any(_rules_out(error, place) for error in branch)]
        if len(meant) == 1:
            for error in meant[0]:
                yield from self.problems(error)
            return
        found = self._shown(keys, self._at(keys), None)
        if not meant and (names := _only_types(branches, place)):
            yield problem(keys, found, render.types(names))
            return
        if not meant and (fixed := _discriminator(branches, place)):
            yield self._not_among(_exact(self._instance, fixed[0]), fixed[1])
            return
        forms = [self._first_demand(branch, keys) for branch in (meant or branches)[:MAX_ALTERNATIVES] if branch]
        listed = "; ".join(f"({number}) {form}" for number, form in enumerate(dict.fromkeys(forms), 1))
        yield problem(keys, found, f"one of {len(branches)} alternatives, which want: {listed}")

    def _not_among(self, keys: Sequence[Key], options: list[Any]) -> Problem:
        return problem(keys, self._shown(keys, self._at(keys), None), f"one of {render.choices(options)}")

    def _first_demand(self, branch: Sequence[jsonschema_rs.ValidationError], keys: Sequence[Key]) -> str:
        first = next((each for error in branch[:1] for each in self.problems(error)), None)
        if first is None:
            return "something else"
        return first.allowed if first.path == render.path(keys) else f"{first.path}: {first.allowed}"

    def _shown(self, keys: Sequence[Key], found: Any, kind: Kind | None) -> str:
        if self._is_secret(keys):
            return f"a hidden {render.kind_of(found)}"
        shown = render.value(found)
        counts = isinstance(kind, Kind.MinLength | Kind.MaxLength) and isinstance(found, str)
        if counts and not shown.endswith(" characters)"):
            counted = f" ({len(found)} characters)"
            shown = render.text(found, most=render.MAX_FOUND - len(counted)).removesuffix(counted) + counted
        return shown

    def _is_secret(self, keys: Sequence[Key]) -> bool:
        return any(
            schema.get("writeOnly") is True or schema.get("format") == "password"
            for schema in self._outline.along(keys)
        )

    def _at(self, keys: Sequence[Key]) -> Any:
        found = self._instance
        for key in keys:
            found = found[key]
        return found

    def _schema_of(self, error: jsonschema_rs.ValidationError) -> Schema:
        node: Any = self._outline.root
        for key in error.schema_path[:-1]:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return {}
        return named(node)


def _exact(instance: Any, keys: Sequence[Key]) -> list[Key]:
    """The engine's path as it is in the instance: the engine writes names of digits as numbers, and drops empty names.

    Where that leaves a doubt, the result is still a place that exists, so what is shown is judged by the same place.
    """
    exact: list[Key] = []
    node = instance
    for key in keys:
        step = _step(node, key)
        while step is None and isinstance(node, Mapping) and "" in node:
            exact.append("")
            node = node[""]
            step = _step(node, key)
        if step is None:
            break
        exact.append(step)
        node = node[step]
    return exact


def _step(node: Any, key: Key) -> Key | None:
    if isinstance(node, Mapping):
        if key in node:
            return key
        return next((name for name in node if isinstance(name, str) and _is_number(name, key)), None)
    return key if isinstance(node, list | tuple) and isinstance(key, int) and key < len(node) else None


def _is_number(name: str, key: Key) -> bool:
    return name.isdecimal() and len(name) <= 20 and int(name) == key


def _rules_out(error: jsonschema_rs.ValidationError, keys: Sequence[Key]) -> bool:
    """A wrong type here, or a wrong fixed value one step down (a discriminator), means another branch was intended."""
    deeper = len(error.instance_path) - len(keys)
    if isinstance(error.kind, Kind.Type):
        return deeper == 0
    return isinstance(error.kind, Kind.Constant) and deeper <= 1


def _only_types(branches: Sequence[Sequence[jsonschema_rs.ValidationError]], keys: Sequence[Key]) -> list[str]:
    names: dict[str, None] = {}
    for branch in branches:
        here = [error.kind for error in branch if len(error.instance_path) == len(keys)]
        wanted = [kind for kind in here if isinstance(kind, Kind.Type)]
        if not wanted:
            return []
        names.update(dict.fromkeys(wanted[0].types))
    return list(names)


def _discriminator(
    branches: Sequence[Sequence[jsonschema_rs.ValidationError]], keys: Sequence[Key]
) -> tuple[list[Key], list[Any]] | None:
    """The place and its possible values, when every branch wants another fixed value of the same one."""
    wanted = [
        next((error for error in branch if isinstance(error.kind, Kind.Constant) and _rules_out(error, keys)), None)
        for branch in branches
    ]
    places = [error.instance_path for error in wanted if error is not None]
    if not places or len(places) < len(branches) or any(place != places[0] for place in places):
        return None
    return places[0], [error.kind.expected_value for error in wanted if error and isinstance(error.kind, Kind.Constant)]


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:60], known, n=1)
    return f" Did you mean {render.text(near[0], most=60)}?" if near else ""
