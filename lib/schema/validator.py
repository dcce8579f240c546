"""A compiled schema."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs

from lib.schema.explain import Explanation, Problem, problem
from lib.schema.walk import Key, Outline

__all__ = ["Problem", "Validator"]

# Beyond this many values the engine's list of every error could take seconds, so only the first one is asked for.
MANY_VALUES = 5_000
_CONTAINERS = (dict, list, tuple)


class Validator:
    """Made by `compile_schema`. Immutable, and safe to share between threads and tasks."""

    def __init__(self, compiled: jsonschema_rs.Draft202012Validator, outline: Outline, max_depth: int) -> None:
        self._compiled = compiled
        self._outline = outline
        self.max_depth = max_depth

    def is_valid(self, instance: Any) -> bool:
        """The fast path: a microsecond or two for usual arguments. Never raises."""
        if is_deeper(instance, self.max_depth):
            return False
        try:
            return self._compiled.is_valid(instance)
        except ValueError:
            # Text that is not Unicode (a lone surrogate), or a value that is not JSON at all.
            return False

    def problems(self, instance: Any, limit: int = 10) -> list[Problem]:
        """What is wrong, at most `limit` problems; empty exactly when `is_valid`. Never raises."""
        if is_deeper(instance, self.max_depth):
            found, allowed = "nested too deeply", f"nested at most {self.max_depth} levels deep"
            return [problem([], found, allowed)]
        if self.is_valid(instance):
            return []
        try:
            explained = self._explained(instance, limit)
        except ValueError:
            explained = []
        return explained or [_unreadable(instance)]

    def _explained(self, instance: Any, limit: int) -> list[Problem]:
        explanation = Explanation(self._outline, instance)
        each = (found for error in self._errors(instance) for found in explanation.problems(error))
        return list(islice(dict.fromkeys(islice(each, 4 * limit)), limit))

    def _errors(self, instance: Any) -> Sequence[jsonschema_rs.ValidationError]:
        if not holds_more(instance, MANY_VALUES):
            return list(self._compiled.iter_errors(instance))
        try:
            self._compiled.validate(instance)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []


def is_deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested more than `levels` deep. Walks level by level, so depth costs no stack."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    while level:
        if not levels:
            return True
        levels -= 1
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, _CONTAINERS)
        ]
    return False


def holds_more(value: Any, most: int) -> bool:
    """Whether there are more than `most` values in it. The depth must have been checked."""
    stack, seen = [value], 0
    while stack and seen <= most:
        node = stack.pop()
        if isinstance(node, _CONTAINERS):
            seen += len(node)
            stack.extend(node.values() if isinstance(node, dict) else node)
    return seen > most


def _unreadable(instance: Any) -> Problem:
    """The problem of a value the engine cannot read, with its place if that can be told."""
    stack: list[tuple[tuple[Key, ...], Any]] = [((), instance)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, str) and not is_unicode(node):
            return problem(path, "text with a lone surrogate", "valid Unicode")
        if isinstance(node, Mapping):
            names = [name for name in node if not (isinstance(name, str) and is_unicode(name))]
            if names:
                return problem(path, "an object with a name that is not valid Unicode", "valid JSON")
            stack.extend(((*path, name), child) for name, child in node.items())
        elif isinstance(node, list | tuple):
            stack.extend(((*path, n), child) for n, child in enumerate(node))
        elif not isinstance(node, str | int | float | None):
            return problem(path, "a value that is not JSON", "valid JSON")
    return problem([], "not valid", "valid for the schema")


def is_unicode(text: str) -> bool:
    """Whether the text has a UTF-8 form, which a lone surrogate has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
