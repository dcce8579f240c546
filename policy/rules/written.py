"""A whole draft as YAML: read with the line of everything that is wrong, written in one fixed order."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from pydantic import ValidationError as Unfit

from policy.rules.spec import Spec, problems

MAX_CHARACTERS = 200_000
MAX_RULES = 500
_MAX_DEPTH = 12
_MAX_TOLD = 20

_Place = tuple[int | str, ...]


class _Loader(yaml.CSafeLoader):
    """Only what JSON has: `22:00`, `on` and `2026-01-01` stay the text that they look like (YAML 1.2, core schema)."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("int", r"^[-+]?[0-9]{1,18}$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]{1,18}\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?$", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def from_yaml(text: str) -> list[Spec]:
    """The rules of a draft. Raises ValidationError with a sentence for each thing wrong, which starts with its line."""
    node = _composed(text)
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise ValidationError(f"Line {_line(node)}: Write a list of rules, each beginning with '- name: …'.")
    if len(node.value) > MAX_RULES:
        raise ValidationError(f"There are {len(node.value)} rules; at most {MAX_RULES} are allowed.")
    wrong: list[tuple[int, str]] = []
    rules: list[Spec] = []
    first: dict[str, int] = {}
    for one in node.value:
        try:
            rule = Spec.model_validate(_value(one))
        except Unfit as problem:
            wrong += [(_line(_at(one, place)), said) for place, said in problems(problem).items()]
            continue
        if rule.name in first:
            wrong.append((_line(one), f"There is another rule {rule.name!r}, in line {first[rule.name]}."))
        first.setdefault(rule.name, _line(one))
        rules.append(rule)
    if wrong:
        told = [f"Line {line}: {said}" for line, said in sorted(wrong)[:_MAX_TOLD]]
        more = [f"And {len(wrong) - _MAX_TOLD} more."] if len(wrong) > _MAX_TOLD else []
        raise ValidationError(told + more)
    return rules


def to_yaml(rules: Iterable[Spec]) -> str:
    """The rules in the order in which they are asked. `from_yaml` makes the same of it again."""
    written = [rule.written() for rule in in_order(rules)]
    if not written:
        return "[]\n"
    blocks = [
        yaml.dump([one], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
        for one in written
    ]
    return "\n".join(blocks)


def in_order(rules: Iterable[Spec]) -> list[Spec]:
    """By priority, the highest first, then by name."""
    return sorted(rules, key=lambda rule: (-rule.priority, rule.name))


class _Dumper(yaml.SafeDumper):
    """Text that another reader of YAML would take for something else is quoted, as with the usual rules."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _composed(text: str) -> yaml.Node | None:
    """The document, bounded: no alias stands for more than it says, nothing is nested deeply."""
    if len(text) > MAX_CHARACTERS:
        raise ValidationError(f"It has {len(text)} characters; at most {MAX_CHARACTERS} are allowed.")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValidationError(f"Line {_line(event)}: Write it out; aliases (*) are not read.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ValidationError(f"Line {_line(event)}: It is nested more than {_MAX_DEPTH} deep.")
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"Line {mark.line + 1}: " if mark else ""
        raise ValidationError(f"{where}This is not YAML: {problem.problem or problem.context}.") from None
    except yaml.YAMLError:
        raise ValidationError("This is not YAML: it holds signs that no text has.") from None


def _value(node: yaml.Node) -> Any:
    """A node as JSON has it. Raises ValidationError for what JSON has not."""
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for at, value in node.value:
            name = _value(at)
            if not isinstance(name, str):
                said = at.value if isinstance(at, yaml.ScalarNode) else "This"
                raise ValidationError(f"Line {_line(at)}: {said} is no name; put it between quotes.")
            if name in found:
                raise ValidationError(f"Line {_line(at)}: {name} is written twice.")
            found[name] = _value(value)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(one) for one in node.value]
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _SCALARS:
        raise ValidationError(f"Line {_line(node)}: The tag {node.tag[:40]} is not read; write plain values.")
    try:
        return _SCALARS[kind](node.value)
    except ValueError:
        raise ValidationError(f"Line {_line(node)}: {node.value[:40]!r} is no {kind}.") from None


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "true",
    "null": lambda text: None,
}


def _at(node: yaml.Node, place: _Place) -> yaml.Node:
    """The node at a place, or the innermost around it that there is."""
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next((value for name, value in node.value if name.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
        else:
            found = None
        if found is None:
            break
        node = found
    return node


def _line(found: yaml.Node | yaml.Event) -> int:
    return found.start_mark.line + 1 if found.start_mark else 1
