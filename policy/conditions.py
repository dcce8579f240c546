"""Conditions in CEL (Common Expression Language): compiled once, bounded, and never an error for whoever calls.

The expression is an admin's, what it looks at is an attacker's. So what an expression may do is bounded when it is
compiled, and what it may look at when it is evaluated; whatever it cannot answer is None, which is no answer: neither
yes nor no.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import cel

from lib.schema import SchemaError, compile_schema

MAX_LENGTH = 1000
MAX_MACROS = 4
MAX_DEPTH = 64
MAX_VALUES = 10_000
# `map` and `filter` copy the list for every item of it, and a macro may compare every item with all of them.
MAX_VALUES_IN_MACROS = 500
MAX_TEXT_IN_MACROS = 100_000

VARIABLES = ("args", "user", "role", "client", "way", "tool", "tags", "found")
FUNCTIONS = (
    "bool", "contains", "double", "dyn", "duration", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek",
    "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "int",
    "matches", "size", "startsWith", "string", "timestamp", "type", "uint",
)  # fmt: skip
_OPERATORS = frozenset(
    {"!_", "-_", "_!=_", "_%_", "_&&_", "_*_", "_+_", "_-_", "_/_", "_<=_", "_<_", "_==_", "_>=_", "_>_", "_?_:_"}
    | {"_[_]", "_||_", "@in", "@not_strictly_false"}
)
_MACROS = frozenset({"all", "exists", "exists_one", "existsOne"})
_COPYING = frozenset({"map", "filter"})
"""Macros that make lists of lists: a few of them in a row make more of a short text than there is memory."""
MAX_PLUS = 10
"""How often things may be added: text that is added to itself grows with every time."""
_TOKEN = re.compile(
    r"""(?P<comment>//)|(?P<text>[rR]"[^"]*"|[rR]'[^']*'|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<sign>\S)""",
    re.DOTALL,
)


class ConditionError(ValueError):
    """An expression that is not used; the message is a sentence for its author."""


class Known:
    """What conditions may look at, for one call. Made into CEL's own values when the first condition asks."""

    __slots__ = ("_arguments", "_context", "_others", "_weight")

    def __init__(self, arguments: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        """others: the variables beside `args`."""
        self._arguments = arguments
        self._others = others
        self._weight: tuple[int, int] | None = None
        self._context: cel.Context | None = None

    def context(self, *, macros: bool) -> cel.Context | None:
        """None where there is too much to look at. macros: for an expression that goes through lists."""
        if self._weight is None:
            self._weight = _weight(self._arguments)
        values, text = self._weight
        if values > (MAX_VALUES_IN_MACROS if macros else MAX_VALUES) or (macros and text > MAX_TEXT_IN_MACROS):
            return None
        if self._context is None:
            context = cel.Context(variables={"args": self._arguments})
            context.set_variable_resolver(self._others.get)  # most conditions look at the arguments only
            self._context = context
        return self._context


class Condition:
    """A compiled expression. Safe to share between threads."""

    __slots__ = ("_macros", "_program", "source")

    def __init__(self, source: str) -> None:
        """Raises ConditionError, in a sentence."""
        if len(source) > MAX_LENGTH:
            raise ConditionError(f"It has {len(source)} characters; at most {MAX_LENGTH} are allowed.")
        self.source = source
        scanned = _Scanned(source)
        self._program = _compiled(source)
        self._macros = scanned.macros > 0
        _check_names(self._program, scanned.bound)
        self._check_answer()

    def holds(self, known: Known) -> bool | None:
        """Whether it is so; None when that cannot be told: something is missing, of another type, or too much."""
        try:
            context = known.context(macros=self._macros)
            answer = None if context is None else self._program.execute(context)
        except Exception:  # they have no common base, and no call may end by one
            return None
        return answer if isinstance(answer, bool) else None

    def _check_answer(self) -> None:
        """Where it answers something without looking at any argument, that must be yes or no."""
        nobody = {"user": "", "role": "", "client": "", "way": "", "tool": "", "tags": [], "found": []}
        try:
            context = Known({}, nobody).context(macros=self._macros)
            answer = self._program.execute(context)
        except Exception:  # it looks at arguments, and there are none here
            return
        if not isinstance(answer, bool):
            raise ConditionError(
                f"It answers {type(answer).__name__}, and has to answer true or false. Compare it with something."
            )


class _Scanned:
    """What the compiled program does not tell: which macros are in an expression, and what names they bind."""

    def __init__(self, source: str) -> None:
        self.macros = 0
        self.bound: set[str] = set()
        if '"""' in source or "'''" in source:
            raise ConditionError("Write text between single or double quotes, not between three of them.")
        tokens = list(_tokens(source))
        open_macros: list[bool] = []
        if sum(sign == "+" for _, sign in tokens) > MAX_PLUS:
            raise ConditionError(f"It adds more than {MAX_PLUS} times; it cannot.")
        for index, (sort, sign) in enumerate(tokens):
            if sort == "comment":
                raise ConditionError("It cannot hold a comment; the name of the rule says what it is for.")
            if sign in ("(", "[", "{"):
                open_macros.append(self._opens_macro(tokens, index, inside=any(open_macros)))
            elif sign in (")", "]", "}") and open_macros:
                open_macros.pop()
            elif sign == "matches":
                _check_pattern(tokens, index)
        if self.macros > MAX_MACROS:
            raise ConditionError(f"It goes through lists {self.macros} times; at most {MAX_MACROS} are allowed.")

    def _opens_macro(self, tokens: list[tuple[str, str]], index: int, *, inside: bool) -> bool:
        before = [token for _, token in tokens[max(0, index - 2) : index]]
        if tokens[index][1] != "(" or len(before) < 2 or before[0] != ".":
            return False
        if before[1] in _COPYING:
            raise ConditionError(f"There is no {before[1]}; there are {', '.join(sorted(_MACROS))}.")
        if before[1] not in _MACROS:
            return False
        if inside:
            raise ConditionError(f"{before[1]} stands inside another one of {', '.join(sorted(_MACROS))}; it cannot.")
        self.macros += 1
        if index + 1 < len(tokens):
            self.bound.add(tokens[index + 1][1])
        return True


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(source):
        yield found.lastgroup or "", found.group()


def _check_pattern(tokens: list[tuple[str, str]], index: int) -> None:
    """A pattern is the admin's, so it is written out; it matches in linear time, and is bounded in size."""
    signs = [sign for _, sign in tokens[index + 1 : index + 4]]
    if signs[:1] != ["("]:
        return  # an argument of that name
    written = len(signs) == 3 and tokens[index + 2][0] == "text" and signs[2] == ")"
    if not written or not index or tokens[index - 1][1] != ".":
        raise ConditionError("matches wants its pattern written out: args.name.matches('^[a-z]+$').")
    try:
        compile_schema({"type": "string", "pattern": str(cel.evaluate(signs[1]))})
    except (SchemaError, ValueError):
        raise ConditionError(
            f"The pattern {signs[1][:80]} cannot be used: it has to be a regular expression without look-around or "
            "back references, and not too large."
        ) from None


def _compiled(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as problem:
        said = next((line for line in str(problem).splitlines() if "ERROR" in line), str(problem))
        place, _, what = said.partition("ERROR: <input>:")[2].partition(": ")
        where = f" at character {place.partition(':')[2]}" if place else ""
        raise ConditionError(f"It cannot be read{where}: {(what or said).partition(' expecting ')[0][:160]}.") from None


def _check_names(program: cel.Program, bound: Iterable[str]) -> None:
    named = program.references()
    if strange := sorted(set(named["variables"]) - {*VARIABLES, *bound}):
        raise ConditionError(f"There is no {strange[0]!r} to look at; there are {', '.join(VARIABLES)}.")
    if strange := sorted(set(named["functions"]) - _OPERATORS - set(FUNCTIONS)):
        raise ConditionError(f"There is no function {strange[0]!r}; there are {', '.join(FUNCTIONS)}.")


_PLAIN: Final = frozenset({int, float, bool, type(None)})


def _weight(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """How many values there are in the arguments, and characters of text; too many of both where nested too deeply."""
    text = 0
    for name, value in arguments.items():
        if type(value) is str:
            text += len(value)
        elif type(value) not in _PLAIN:
            return _nested_weight(arguments)
        text += len(name)
    return len(arguments), text


def _nested_weight(arguments: Mapping[str, Any]) -> tuple[int, int]:
    values, text, level = 0, 0, [arguments]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, str):
                text += len(node)
            elif isinstance(node, Mapping):
                values += len(node)
                below += [*node.values()]
                text += sum(map(len, node))
            elif isinstance(node, list | tuple):
                values += len(node)
                below += node
        if not below or values > MAX_VALUES:
            return values, text
        level = below
    return MAX_VALUES + 1, text
