"""Secrets in a text: by the shapes that providers give theirs, and what looks random where a secret is spoken of."""

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from lib.detect.sieve import Cleaner, Sieve, finds

REMOVED = "[secret removed]"
_MOST_TOKEN = 200

_SHAPES = (
    r"eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}",  # a JWT
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}",  # GitHub
    r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20,255}",  # GitLab
    r"xox[abeprs]-[A-Za-z0-9-]{10,255}|xapp-[A-Za-z0-9-]{10,255}",  # Slack
    r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,500}|GOCSPX-[A-Za-z0-9_-]{20,50}",  # Google
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9+/]{24,255}",  # Stripe
    r"sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{20,255}|sk-[A-Za-z0-9]{32,255}",  # OpenAI, Anthropic
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}|xkeysib-[a-f0-9]{32,80}",  # SendGrid, Brevo
    r"npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,500}|dckr_pat_[A-Za-z0-9_-]{20,60}",  # registries
    r"dop_v1_[a-f0-9]{64}|hvs\.[A-Za-z0-9_-]{20,200}|glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}",  # DigitalOcean, Vault, Grafana
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|hf_[A-Za-z0-9]{30,50}|lin_api_[A-Za-z0-9]{30,60}",  # Shopify, HF, Linear
    r"ATATT3[A-Za-z0-9_=-]{40,300}|AGE-SECRET-KEY-1[A-Z0-9]{50,70}|tskey-[a-z]{3,8}-[A-Za-z0-9-]{20,100}",
    r"mcphub_[a-z0-9]{2,8}_[A-Za-z0-9_-]{20,255}",  # our own: keys, codes, tokens, secrets of machines
)
"""Each is bounded and begins where a word does, so that no text makes the search slow."""
_SHAPE = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_SHAPES)})(?![A-Za-z0-9])")
_HOOK = re.compile(
    r"(https://hooks\.slack\.com/services/|https://discord(?:app)?\.com/api/webhooks/)[A-Za-z0-9/_-]{20,200}"
)
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-(?!----)[^-]*)*(?:-----END [A-Z0-9 ]{0,60}-----)?"
)
_IN_URL = re.compile(r"(://[^\s/:@\"'<>]{0,128}+:)(?!/)([^\s/@\"'<>]{1,256}+)(?=@[^\s@])")

_STRONG = r"passw(?:or)?d|passwort|passphrase|pwd|client[-_ ]?secret|secret[-_ ]?key|private[-_ ]?key|account[-_ ]?key"
_OTHER = (
    r"secret|token|credentials?|authorization|bearer|cookie|jwt"
    r"|(?:api|access|auth|signing|encryption|master|shared|service|deploy|license|admin|storage)[-_ ]?key"
)
_NAME = rf"(?:{_STRONG}|{_OTHER})"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"({_NAME})([a-z0-9_-]{{0,24}}+)((?:\\?[\"'])?\s{{0,4}}+(?::=|=>|=|:)\s{{0,4}}+(?:\\?[\"'])?(?:(?:bearer|basic|token)\s{{1,4}}+)?)"
    r"([^\s\"'<>,;&\\]{8,512}+)",
    re.IGNORECASE,
)
_WORD = r"[A-Za-z0-9+/_~.-]"
_NEAR = re.compile(
    rf"((?<![a-z])keys?(?![a-z])|(?!secret removed\]){_NAME})"
    rf"([a-z0-9_-]{{0,24}}+(?:[^\n{{}}A-Za-z0-9+/_~.-]{{1,8}}+{_WORD}{{1,19}}+(?!{_WORD})){{0,5}}?"
    rf"[^\n{{}}A-Za-z0-9+/_~.-]{{1,8}}+)({_WORD}{{20,{_MOST_TOKEN}}}+={{0,2}}+)(?!{_WORD})",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"(?:page|next|prev|previous|continuation|cursor|sync|delta|resume|skip|pagination|scroll|public|idempotency"
    r"|max|total|input|output|prompt|completion|cached|used)[-_ ]?$",
    re.IGNORECASE,
)
_HARMLESS_END = re.compile(
    r"s?[-_ ]?(?:ids?|type|name|count|uri|url|endpoint|expires?\w*|hash|length|limit|policy|arn)$", re.IGNORECASE
)
_NAMED_OTHERWISE = re.compile(
    r"(?:\bids?|\buuid|\bhash(?:es)?|\bsha-?\d*|\bdigest|\bfingerprint|\bchecksum|\bcommit|\betag|\bcursor|\bversion|"
    r"\bfile|\bpath|\burl|\bbranch|integrity)\W{0,8}$",
    re.IGNORECASE,
)
_BESIDE = re.compile(r"\s{1,4}(?:is\s{1,4})?[\"'`(]?", re.IGNORECASE)
"""Between a name and a value without a sign."""
_KEY_LENGTHS = frozenset({32, 40, 48, 64, 96, 128})
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_PARTS = re.compile(r"[-_./+~=]+")

_LEAST, _AT_LEAST = re.compile(r"[{]([0-9]+),[0-9]+[}]"), r"{\1,}"
"""How long something may be at the most costs a Sieve much, and says nothing more."""
_JWT_BEGINS = r"eyJ[A-Za-z0-9_-]{10,}\.eyJ"
"""The whole may be longer than what is looked at in windows."""
_SIEVES = {
    "pem": r"PRIVATE KEY",
    "hook": r"hooks\.slack\.com/|/api/webhooks/",
    "url": r"://[^\s/:@\"'<>]{0,128}:[^\s/:@\"'<>]{1,256}@",
    "shape": rf"(?-u:\b)(?:{_JWT_BEGINS}|{'|'.join(_LEAST.sub(_AT_LEAST, shape) for shape in _SHAPES[1:])})",
    "password": rf"(?i:{_STRONG})[a-z0-9_-]{{0,24}}[\\\"']{{0,2}}\s{{0,4}}[=:][\s\\\"'>=]{{0,6}}[^\s\"'<>,;&\\]{{8}}",
    "random": rf"(?i:key|{_NAME})[^\n{{}}]{{0,120}}?[A-Za-z0-9+/_~-]{{20}}",
}
SIEVE = tuple(_SIEVES.values())


def is_suspect(text: str) -> bool:
    """Whether a closer look is worth it. Valid Unicode only."""
    return _sieve.catches(text)


def without_secrets(text: str) -> tuple[str, int]:
    """The text without secrets, and how many they were."""
    count = 0
    if _PRIVATE.catches(text):  # may be longer than what is looked at in pieces
        text, count = _PEM.subn(REMOVED, text)
    for sieve, cleaner in _CLEANERS:
        text, found = sieve.clean(text, cleaner)
        count += found
    return text, count


def is_secret(name: str, value: str) -> bool:
    """Whether the value of a field with this name is a secret as a whole."""
    name = name[-200:]
    if not _may_name_one(name) or len(value) > 512:
        return False
    found = _ASSIGNED.search(f"{name}={value}")
    return found is not None and found[4] == value and _is_assigned(found)


@lru_cache(maxsize=4096)
def _may_name_one(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _without_shapes(text: str) -> tuple[str, int]:
    return _SHAPE.subn(REMOVED, text)


def _without_hooks(text: str) -> tuple[str, int]:
    return _HOOK.subn(rf"\1{REMOVED}", text)


def _without_passwords_in_urls(text: str) -> tuple[str, int]:
    return _IN_URL.subn(rf"\1{REMOVED}", text)


def _without_assigned(text: str) -> tuple[str, int]:
    return _without(text, _ASSIGNED, _is_assigned, 4)


def _without_near(text: str) -> tuple[str, int]:
    return _without(text, _NEAR, _is_near, 3)


def _without(
    text: str, pattern: re.Pattern[str], is_one: Callable[[re.Match[str]], bool], group: int
) -> tuple[str, int]:
    """The text without this group of what is found and is one."""
    kept, done, count = [], 0, 0
    for found in finds(pattern, text):
        if is_one(found):
            kept += [text[done : found.start(group)], REMOVED]
            done, count = found.end(group), count + 1
    return ("".join([*kept, text[done:]]), count) if count else (text, 0)


def _before(found: re.Match[str]) -> str:
    return found.string[max(0, found.start() - 24) : found.start()]


def _is_assigned(found: re.Match[str]) -> bool:
    name, rest, value = found[1], found[2], found[4]
    if _HARMLESS_NAME.search(_before(found)) or _HARMLESS_END.fullmatch(rest) or value.startswith("[secret"):
        return False
    if re.fullmatch(_STRONG, name, re.IGNORECASE) and _is_password(value):
        return True
    token = value.rstrip("=.)}]").lstrip("([{")
    return looks_random(token) or _is_hex_of_a_key(token)


def _is_near(found: re.Match[str]) -> bool:
    between, token = found[2], found[3]
    if _HARMLESS_NAME.search(_before(found)) or _NAMED_OTHERWISE.search(found[1] + between):
        return False
    after = found.string[found.end() : found.end() + 3]
    if after.startswith(("://", "@")) or between.rstrip("\\\"'").endswith(("://", "data:", "base64,")):
        return False
    if _BESIDE.fullmatch(between) and not found[1].lower().startswith("key") and _is_hex_of_a_key(token):
        return True
    return looks_random(token.strip(".="))


def _is_password(value: str) -> bool:
    """Whether it may be one that somebody thought up, as against a word, a link or a row of asterisks."""
    if "://" in value or value[0] in "$<{[(%*" or _UUID.fullmatch(value):
        return False
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and len(set(value)) >= 5


def _is_hex_of_a_key(token: str) -> bool:
    """Whether it has a length that keys have and was made by chance; where a secret is spoken of it is no hash."""
    return len(token) in _KEY_LENGTHS and _HEX.fullmatch(token) is not None and _entropy(token) >= 3.0


def looks_random(token: str) -> bool:
    """Whether a word of at least 20 characters was made by chance: no name, number, path, UUID or hexadecimal hash."""
    if not 20 <= len(token) <= _MOST_TOKEN or _HEX.fullmatch(token) or _UUID.fullmatch(token):
        return False
    if max(map(len, _PARTS.split(token))) < 8 or _entropy(token) < 3.5:
        return False
    runs = _RUNS.findall(token)
    kinds = {"digit" if run[0].isdigit() else "letter" for run in runs}
    return len(runs) > 4 and sum(map(len, runs)) / len(runs) < 3.4 and (len(kinds) == 2 or len(runs) >= 10)


def _entropy(token: str) -> float:
    """Bits for each character (Shannon)."""
    counts, size = Counter(token).values(), len(token)
    return -sum(count / size * math.log2(count / size) for count in counts)


_sieve = Sieve(SIEVE)
_PRIVATE = Sieve([_SIEVES["pem"]])
_CLEANERS: tuple[tuple[Sieve, Cleaner], ...] = (
    (Sieve([_SIEVES["shape"]]), _without_shapes),
    (Sieve([_SIEVES["hook"]]), _without_hooks),
    (Sieve([_SIEVES["url"]]), _without_passwords_in_urls),
    (Sieve([_SIEVES["password"], _SIEVES["random"]]), _without_assigned),
    (Sieve([_SIEVES["random"]]), _without_near),
)
