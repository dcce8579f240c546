"""Running the rules over one manifest."""

import re
from collections.abc import Iterator, Sequence

from tools.scan.checks import CHECKS
from tools.scan.names import is_risky
from tools.scan.places import places
from tools.scan.reading import quoted, readings, sentence
from tools.scan.rules import Rule, compiled, rules, well_known
from tools.scan.values import Finding, Hit, Level, Place, Scanned, Where

_MOST_OF_ONE_RULE = 5
_NEVER = re.compile(r"(?!)")
_WHERE = {
    Where.NAME: "the name",
    Where.TITLE: "the title",
    Where.DESCRIPTION: "the description",
    Where.ICON: "the icon",
    Where.ANNOTATIONS: "what it may do",
}


def scan(scanned: Scanned) -> list[Finding]:
    """What people should look at before they publish it, the worst first."""
    found, whole = places(scanned.manifest)
    findings = [finding for rule in rules() for finding in _of(rule, scanned, found, whole)]
    order = list(Level)
    return sorted(findings, key=lambda finding: order.index(finding.level))


def stopping(findings: Sequence[Finding], level: str) -> list[Finding]:
    """The findings that keep a tool from being published where the tenant stops at `level`; none for `never`."""
    order = [str(one) for one in Level]
    return [one for one in findings if level in order and order.index(one.level) <= order.index(level)]


def _of(rule: Rule, scanned: Scanned, found: Sequence[Place], whole: bool) -> Iterator[Finding]:
    looked_at = [place for place in found if place.where in rule.where]
    hits = CHECKS[rule.check](scanned, looked_at, whole) if rule.check else _matching(rule, scanned, looked_at)
    for hit, _ in zip(hits, range(_MOST_OF_ONE_RULE), strict=False):
        yield Finding(
            rule=rule.id,
            level=rule.level,
            message=f"{rule.why} {hit.says}".strip(),
            remedy=rule.remedy,
            where=_WHERE.get(hit.place.where, hit.place.path),
            quote=quoted(hit.quote),
        )


def _matching(rule: Rule, scanned: Scanned, found: Sequence[Place]) -> Iterator[Hit]:
    patterns = [_pattern(pattern, scanned) for pattern in rule.patterns]
    unless = compiled(rule.unless) if rule.unless else _NEVER
    for place in found:
        if (quote := _first(patterns, unless, readings(place))) is not None:
            yield Hit(place=place, quote=quote)


def _first(patterns: Sequence[re.Pattern[str]], unless: re.Pattern[str], texts: Sequence[str]) -> str | None:
    """The first match that its sentence does not make harmless, with some words around it."""
    for text in texts:
        for pattern in patterns:
            for match in pattern.finditer(text):
                around = sentence(text, *match.span())
                if not unless.search(around):
                    return around if len(around) <= 2 * len(match[0]) + 80 else match[0]
    return None


def _pattern(pattern: str, scanned: Scanned) -> re.Pattern[str]:
    """A pattern, in which {tool} stands for the name of any other tool that the model may have, {changing} for that of
    one that may do harm."""
    if "{tool}" not in pattern and "{changing}" not in pattern:
        return compiled(pattern)
    others = [name for name in [*scanned.sisters, *well_known()["tools"]] if "{tool}" in pattern or is_risky(name)]
    names = {name.lower() for name in others} - {scanned.manifest["name"].lower()}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    named = rf"(?<![\w.-])(?:{either})(?![\w-])"
    return re.compile(pattern.replace("{tool}", named).replace("{changing}", named)) if names else _NEVER
