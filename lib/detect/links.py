"""Links in a text, and whether the host that they lead to is one of those allowed."""

import html
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import unquote

from lib.detect.sieve import Sieve

Allowed = Callable[[str], bool]
"""Whether a URL may stay: its host is allowed, or it names none."""

_WEB = r"(?:https?|ftp|wss?)"
_COLON = r"(?::|&#0{0,8}58;?|&#x0{0,8}3a;?|&colon;)"
_SLASH = r"(?:[/\\]|&#0{0,8}(?:47|92);?|&#x0{0,8}(?:2f|5c);?|&b?sol;)"
_LEADING = r"(?:href|src|ping|poster|background)"
"""Attributes of HTML that lead somewhere, or load from there."""
_GAP = r"(?:\s|\\[nrt])*"
_SCHEMED = r"[a-z][a-z0-9+.-]+:"
_OTHER = (
    rf"(?:[/\\]{_GAP}[/\\]|[^\s()<>\"'/?#]*&(?:#|colon|b?sol|tab|newline)|{_SCHEMED}(?:[^\s/\\\"'<>):]|[/\\]+[?#]))"
)
"""How the target of a link begins that leads elsewhere, where it is not plainly written as a URL."""
_BARE = rf"(?i){_WEB}:[a-z0-9-]+(?:\.[a-z0-9-]+)+[/?#]"
_ATTRIBUTE = rf"(?i){_LEADING}\s*=\s*\\?"
_ODD = (
    rf"(?i)\]\({_GAP}<?{_GAP}{_OTHER}",
    rf"{_ATTRIBUTE}(?:[\"']?{_GAP}{_OTHER}|[\"'][^\s\"'<>]*(?:[\t\n\r]|\\[nrt]))",
    rf"(?i)\]:{_GAP}<?(?:[/\\][/\\]|mailto:)|<mailto:",
    rf"(?i){_WEB}(?:&(?:#|colon)|:&(?:#|b?sol))|&#(?:0*(?:104|72)|x0*[46]8);?&#",
    _BARE,
)
_PLAIN = r"(?i:https?|ftp|wss?):[/\\a-z0-9]|(?i)www\.[a-z0-9-]"
_SCHEMES = rf"(?i)(?:\]\({_GAP}<?{_GAP}|{_LEADING}\s*=\s*\\?[\"']?{_GAP}|<){_SCHEMED}[/\\]"
_signs = Sieve([r"\]\(|\]:|[<&]"])
"""Without one of these a link is written plainly."""
_plain, _schemed, _odd, _bare = Sieve([_PLAIN]), Sieve([_SCHEMES]), Sieve(_ODD), Sieve([_BARE])
_www, _sieve = Sieve([r"(?i)www\."]), Sieve((_PLAIN, _SCHEMES, *_ODD))
_REMOVED = r"\[(?:[a-z]{1,10} ){1,3}removed(?:: [^\[\]\n]{0,500}+)?\]"
"""What an earlier step wrote in place of what it took out."""
_REST = rf"(?:{_REMOVED}|\[[0-9a-f:.]{{2,45}}\]|[^\s<>\"'`\\)\]}}]){{1,2000}}+"
_USER = r"[^\s<>\\/?#]{0,500}@"
"""What stands before a host; whatever it holds, the host is behind it."""
_LINK = re.compile(
    rf"(?=[]\[<&hfwspb >])(?:\]\(\s*+<?\s*+(?P<target>(?:(?:[a-z][a-z0-9+.-]{{1,31}}+:)?[/\\]{{1,4}}{_USER})?"
    rf"(?:{_REMOVED}|[^\s()<>\"'`]){{1,2000}}+)"
    rf"|(?<![\w?&;-]){_LEADING}\s*+=\s*+\\?(?:\"(?P<double>[^\"<>]{{1,2000}}+)|'(?P<single>[^'<>]{{1,2000}}+)"
    rf"|(?P<bare>(?:{_REMOVED}|[^\s\"'<>`]){{1,2000}}+))"
    rf"|(?m:^)[ >]{{0,6}}\[[^\[\]\n]{{1,200}}+\]:\s*+<?(?P<defined>(?://|\\\\|mailto:){_REST})"
    rf"|<(?P<automatic>(?:mailto:|[a-z][a-z0-9+.-]{{1,31}}+://(?:{_USER})?){_REST})"
    rf"|(?P<encoded>&#(?:0{{0,8}}(?:104|72)|x0{{0,8}}[46]8);?(?=&#){_REST})"
    rf"|(?<![a-z0-9])(?P<plain>(?:{_WEB}(?:{_COLON}{_SLASH}{{1,4}}+|:(?=[a-z0-9-]{{1,63}}+(?:\.[a-z0-9-]{{1,63}}+)+[/?#]))(?:{_USER})?"
    rf"|www\.(?=[a-z0-9-])){_REST}))",
    re.IGNORECASE,
)
_AFTER_SCHEME = re.compile(r":[/\\]{1,8}+((?:[^\s<>\\/?#]{0,300}@)?[^\s<>\"'`\\/?#)\]}]{1,300}+)")
_AFTER_WWW = re.compile(r"www\.[^\s<>\"'`\\/?#)\]}]{0,300}+", re.IGNORECASE)
_HOST = re.compile(
    r"\s*+(?:[a-z][a-z0-9+.-]{0,20}+:)?/{2,}+(?:[^/?#]*@)?(\[[0-9a-f:.]{2,45}\]|[^/?#:@]{1,255}+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\s*+([a-z][a-z0-9+.-]{1,31}+):(?!:|\d{1,6}$)", re.IGNORECASE)
_NOWHERE = re.compile(r"\s*+(?:(?:tel|cid|mid|urn|about):|data:(?:image/(?!svg)|audio/|video/|font/))", re.IGNORECASE)
_MAILED_TO = re.compile(r"@([^\s@,;?&<>\"']{1,255}+)")
_AUTHORITY = re.compile(r"^\s*+(?:[a-z][a-z0-9+.-]{0,20}+:)?/+", re.IGNORECASE)
_FULL_STOPS = ".,;:!?*_"
_AFTER = f"{_FULL_STOPS}\\ "


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """The host that a browser would ask, in lower case and as it is written in DNS; empty for a relative URL."""
    url = url[:2000].replace("\\", "/").replace("\t", "").replace("\n", "").replace("\r", "")
    if url[:4].lower() == "www.":
        url = f"//{url}"
    if found := re.match(r"\s*(https?|wss?|ftp):/{0,8}(?!/)", url, re.IGNORECASE):
        url = f"//{url[found.end() :]}"  # browsers mend a missing or a third slash
    if len(authority := _AUTHORITY.sub("", url, count=1)) > 290 and not re.search(r"[/?#]", authority[:290]):
        return authority[:290]  # longer than a host can be, so that it may end in another one
    found = _HOST.match(url)
    return _in_dns(found[1]) if found else ""


@lru_cache(maxsize=2048)
def _in_dns(host: str) -> str:
    host = host.strip("[]").rstrip(".").lower()
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def allowing(hosts: Iterable[str]) -> Allowed:
    """Hosts: `acme.example` is that one, `*.acme.example` all below it. A URL without a host may stay."""
    named = {_in_dns(host) for host in hosts}
    below = tuple(host[1:] for host in named if host.startswith("*."))

    def allowed(url: str) -> bool:
        host = host_of(url)
        if not host:
            return _SCHEME.match(url) is None
        return host in named or (bool(below) and host.endswith(below))

    return allowed


def stays(url: str, allowed: Allowed) -> bool:
    """Whether who follows a link stays with the hosts that are allowed, by how it is written and by how HTML reads it.
    Who mails, stays where all who get the mail are there."""
    return _stays(url, allowed) and ("&" not in url or _stays(html.unescape(url), allowed))


def _stays(url: str, allowed: Allowed) -> bool:
    if _NOWHERE.match(url):
        return True
    if url.lstrip()[:7].lower() == "mailto:":
        return all(allowed(f"//{host.rstrip(_FULL_STOPS)}") for host in _MAILED_TO.findall(unquote(url)))
    return allowed(url)


def named(url: str) -> str:
    """Where a link leads, in a word: its host, or the scheme of another program."""
    read = html.unescape(url)
    scheme = _SCHEME.match(read)
    return host_of(read) or (scheme[1].lower() if scheme else "")


def leads_outside(text: str, allowed: Allowed) -> bool:
    """Whether some link may be to another host; JSON may have escaped it."""
    odd, plain = _signs.catches(text), _plain.catches(text)
    if not odd and not plain:
        return False
    if plain or _schemed.catches(text):
        hosts = {f"//{host.rstrip(_FULL_STOPS)}" for host in _AFTER_SCHEME.findall(text)}
        if not all(map(allowed, hosts.union(_AFTER_WWW.findall(text) if _www.catches(text) else ()))):
            return True
    return (_odd if odd else _bare).catches(text)


def without_links(text: str, allowed: Allowed, *, mark: bool) -> tuple[str, int]:
    """The text with links to other hosts marked, or without them; and how many they were."""

    def cleaned(part: str) -> tuple[str, int]:
        count = 0

        def judged(found: re.Match[str]) -> str:
            nonlocal count
            whole = found[found.lastgroup or 0]
            url = whole.rstrip(_AFTER)
            if stays(url, allowed):
                return found[0]
            count += 1
            before, rest = found[0][: -len(whole)], whole[len(url) :]
            return f"{before}{f'{url} [outside link]' if mark else f'[link removed: {named(url)[:100]}]'}{rest}"

        return _LINK.sub(judged, part), count

    return _sieve.clean(text, cleaned)
