"""How much work a schema can cause.

Alternatives that lead to the same schema multiply: a recursive schema whose two branches both descend into `args`
evaluates each level twice, which is 2**depth evaluations for one short instance. The engine cannot be interrupted, so
this is found when a schema is compiled, and answered by bounding the depth of its instances.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.schema.walk import Key, Outline, Schema, listed, named

_Visits = Counter[int]  # how often each schema, by id, is evaluated at one child


@dataclass
class _Place:
    """What evaluating a schema at one place costs: evaluations there, and visits to each child of the place."""

    evaluations: int = 1
    named: dict[Key, _Visits] = field(default_factory=dict)
    other_properties: _Visits = field(default_factory=Counter)
    other_items: _Visits = field(default_factory=Counter)

    def visits(self, key: Key) -> _Visits:
        other = self.other_items if isinstance(key, int) else self.other_properties
        return self.named.get(key, other)

    def add(self, more: "_Place") -> None:
        self.evaluations += more.evaluations
        self.named = {key: self.visits(key) + more.visits(key) for key in self.named.keys() | more.named.keys()}
        self.other_properties = self.other_properties + more.other_properties
        self.other_items = self.other_items + more.other_items


def deepest_affordable(outline: Outline, *, deepest: int, most: int) -> int:
    """The depth, up to `deepest`, to which no path through an instance costs more than `most` evaluations."""
    if not isinstance(outline.root, Mapping):
        return deepest
    places = _Survey(outline).places
    worst = dict.fromkeys(places, 0)
    for depth in range(deepest):
        deeper = {identity: min(_worst(place, worst), most + 1) for identity, place in places.items()}
        if deeper[id(outline.root)] > most:
            return depth
        if deeper == worst:
            break  # not recursive: nothing below costs more
        worst = deeper
    return deepest


def _worst(place: _Place, below: dict[int, int]) -> int:
    children = (place.other_properties, place.other_items, *place.named.values())
    dearest = max(sum(times * below[identity] for identity, times in visits.items()) for visits in children)
    return place.evaluations + dearest


class _Survey:
    """The places of every schema that evaluation can reach from the root."""

    def __init__(self, outline: Outline) -> None:
        self.places: dict[int, _Place] = {}
        self._outline = outline
        self._waiting: list[Schema] = [outline.root]
        while self._waiting:
            self._place(self._waiting.pop())

    def _place(self, schema: Schema) -> _Place:
        known = self.places.get(id(schema))
        if known is not None:
            return known
        self.places[id(schema)] = _Place(evaluations=0)  # what a reference in a circle adds: the engine stops there
        place = self._own(schema)
        for other in self._outline.in_place(schema):
            place.add(self._place(other))
        self.places[id(schema)] = place
        return place

    def _own(self, schema: Schema) -> _Place:
        """The children this schema visits by its own keywords."""
        patterns = [*named(schema.get("patternProperties")).values(), schema.get("unevaluatedProperties")]
        contains = [schema.get("contains"), schema.get("unevaluatedItems")]
        return _Place(
            named={
                **{name: self._visits(each, *patterns) for name, each in named(schema.get("properties")).items()},
                **{n: self._visits(each, *contains) for n, each in enumerate(listed(schema.get("prefixItems")))},
            },
            other_properties=self._visits(schema.get("additionalProperties"), *patterns),
            other_items=self._visits(schema.get("items"), *contains),
        )

    def _visits(self, *schemas: Any) -> _Visits:
        children = [schema for schema in schemas if isinstance(schema, Mapping)]
        self._waiting.extend(child for child in children if id(child) not in self.places)
        return Counter(id(child) for child in children)
