"""Whether a program's name or domain imitates a known one. Pure.

Anybody may call their program Claude; only the domain tells. This is a warning for a person who reads, not a wall: a
name that is nobody's is never proof of anything.
"""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A host that people know by name, and the domains that are its own (with all that is under them)."""

    name: str
    words: tuple[str, ...]
    domains: tuple[str, ...]


KNOWN = (
    Known(name="Claude", words=("claude", "anthropic"), domains=("claude.ai", "claude.com", "anthropic.com")),
    Known(name="ChatGPT", words=("chatgpt", "openai", "codex"), domains=("chatgpt.com", "openai.com")),
    Known(name="Cursor", words=("cursor",), domains=("cursor.com", "cursor.sh")),
    Known(
        name="Visual Studio Code",
        words=("vscode", "vs code", "visual studio"),
        domains=("vscode.dev", "visualstudio.com", "microsoft.com"),
    ),
    Known(name="GitHub Copilot", words=("github", "copilot"), domains=("github.com", "github.dev", "microsoft.com")),
    Known(name="Gemini", words=("gemini",), domains=("google.com", "google.dev")),
    Known(name="Windsurf", words=("windsurf", "codeium"), domains=("windsurf.com", "codeium.com")),
    Known(name="Zed", words=("zed",), domains=("zed.dev",)),
    Known(name="Le Chat", words=("mistral", "le chat"), domains=("mistral.ai",)),
    Known(name="Perplexity", words=("perplexity",), domains=("perplexity.ai",)),
)

# Letters of other alphabets, and digits, that read as Latin ones (a small cut of Unicode's confusables, UTS 39).
_READS_AS = str.maketrans(
    "аеіјорсухѕһԁԛԝкмнтвɡɩıοαρνυκιτεχω01|!3458$@",  # noqa: RUF001 - that is the point
    "aeijopcyxshdqwkmhtbgiioapvukitexwollleasbsa",
)
_PAIRS = (("rn", "m"), ("vv", "w"))


def imitated(name: str, domain: str) -> Known | None:
    """The known host that this name or domain would be taken for, when the domain is not its own; else None.

    domain: what vouches for the program, in ASCII; empty for one on the person's own computer, whose name alone proves
    nothing and is not held against it.
    """
    if not domain:
        return None
    for text in (name, _readable(domain)):
        alike = [known for known in KNOWN if any(_reads_like(word, text) for word in known.words)]
        if alike:
            return None if any(owns(known, domain) for known in alike) else alike[0]
    return None


def owns(known: Known, domain: str) -> bool:
    """Whether the domain is one of the known host's, or under one."""
    return any(domain == one or domain.endswith(f".{one}") for one in known.domains)


def _reads_like(word: str, text: str) -> bool:
    """Whether somewhere a word of the text begins with this one, written together or apart."""
    wanted, words = "".join(_words(word)), _words(text)
    if len(word) < 5:  # short ones begin too many honest words
        return wanted in words
    return any("".join(words[start:]).startswith(wanted) for start in range(len(words)))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", _skeleton(text))


def _skeleton(text: str) -> str:
    """How the text reads at a glance: without case, accents and look-alike letters."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).translate(_READS_AS)
    for pair, single in _PAIRS:
        plain = plain.replace(pair, single)
    return plain.replace("i", "l")


def _readable(domain: str) -> str:
    """The domain as a browser may draw it: punycode labels in their letters."""
    return ".".join(_decoded(label) for label in domain.split("."))


def _decoded(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label
