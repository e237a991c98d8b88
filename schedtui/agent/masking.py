"""What nobody else has to know, taken out of every text before it leaves this computer or is written down.

Secrets always; home folders, user and host names and e-mail addresses where a mind is somewhere else. The same thing
gets the same placeholder for the whole request (``<home>``, ``<user>``, ``<secret-1>``), so that a mind can still
tell things apart; ``restored`` puts names and paths back into what it asks for, and never a secret. The loop applies
it, at one place.
"""

from __future__ import annotations

import getpass
import math
import os
import pwd
import re
import socket
import threading
from collections import Counter
from pathlib import Path

_WORDS = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|cookie)"
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'\\<>](?:[^\s"'\\]|\\[^\s"'])*)"""
_UNIT = re.compile(r"\.(?:service|socket|slice|scope|target|mount|timer|device|path|swap|automount)$")
_PLACEHOLDER = re.compile(r"""["']?<(?:secret-\d+|home|home-\d+|user|host|full-host|name|email-\d+)>["']?""")
_KEYED = ("pass", "secret", "token", "key", "credential", "auth", "cookie")
_SECRETS = tuple(
    (hints, re.compile(pattern, flags))
    for hints, pattern, flags in (
        (
            ("private key",),
            r"(?P<s>-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?)",
            0,
        ),
        (
            ("authorization",),
            r"\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|digest|token)\s+)?(?P<s>[^\s\"']+)",
            re.I,
        ),
        (("cookie",), r"\b(?:set-)?cookie\s*:\s*(?P<s>[^\n\"']+)", re.I),
        (("bearer",), r"\bbearer\s+(?P<s>[\w.~+/=-]{8,})", re.I),
        (("://",), r"://(?P<s>[^\s/@:\"'<>]*:[^\s/@\"'<>]+)(?=@)", 0),
        (
            _KEYED,
            rf"(?<![\w-])--?(?:[\w]+[_-])*{_WORDS}(?:[_-]\w+)*(?:=|[\"',]*[ \t]+[\"']?)(?P<s>{_VALUE})",
            re.I,
        ),
        (("sshpass",), r"\bsshpass\s+-p\s*(?P<s>\S+)", 0),
        (("mysql", "mariadb"), r"\b(?:mysql|mariadb)[\w-]*\s(?:[^\n]{0,200}?\s)?-p(?P<s>[^\s-]\S*)", 0),
        (("curl",), r"\bcurl\s(?:[^\n]{0,200}?\s)?(?:-u|--user)[ =]?(?P<s>[^\s:]+:\S+)", 0),
        (
            _KEYED,
            r"\b(?:[A-Z0-9]+_)*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|CREDENTIALS?|AUTH|COOKIE)(?:_[A-Z0-9]+)*="
            rf"(?P<s>{_VALUE})",
            0,
        ),
        (_KEYED, rf"\b(?:\w+[_-])?{_WORDS}=(?P<s>{_VALUE})", re.I),
        (_KEYED, rf"[\"'](?:\w+[_-])?{_WORDS}[\"']\s*:\s*(?P<s>{_VALUE})", re.I),
        (
            ("pass", "key"),
            r"\b(?:\w+[_-])?(?:password|passwd|passphrase|api[_-]?key)\s*:\s*(?P<s>[^\s\"'<>]{3,})",
            re.I,
        ),
        (
            ("sk", "pk", "rk", "akia", "asia", "gh", "glpat", "xox", "aiza", "hf_", "npm_", "eyj"),
            r"(?<![A-Za-z0-9])(?P<s>(?:sk|pk|rk)[-_][\w-]{16,}|A[KS]IA[0-9A-Z]{16}|gh[pousr]_\w{20,}"
            r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}|hf_[A-Za-z0-9]{20,}"
            r"|npm_[A-Za-z0-9]{30,}|eyJ[\w-]{10,}\.[\w-]+(?:\.[\w-]*)?)",
            0,
        ),
        (("",), r"(?<![\w])(?P<s>[0-9a-fA-F]{32,})(?![\w])", 0),
    )
)
"""What has to stand in a text, in small letters, for a pattern to be worth trying; and the pattern."""
_DENSE = re.compile(r"(?<![\w+/-])[\w+/-]{32,}={0,2}(?![\w+/=-])")
_DENSE_BITS = 4.2
"""Entropy of a sign, from which on 32 or more of them are no word or path; English identifiers have 3.5 to 4."""
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![\w@-])")
_OTHER_HOME = re.compile(r"/(?:var/)?(?:home|Users)/(?!<)[^\s/:\"'<>,;)\]}]+")
_NOBODY = re.compile(
    "root|user|nobody|admin|guest|home|local(host|domain)|host|name|machine|computer|pc|desktop|laptop|server|lab|linux|"
    "kernel|debian|ubuntu|fedora|arch|archlinux|mint|suse|steam|deck|steamdeck|cachyos|bazzite|gaming|games?|streaming|"
    "stream|audio|music|compile|build|batch|data|train|memory|battery|observe|plan|execute|learn|tool|system|assistant|"
    "person|policy|secret|email|configure|modify|create|tests?",
    re.IGNORECASE,
)
"""Names that say nothing of whoever has them, and words that the conversation needs."""
_LEAST_NAME = 3
_REMEMBERED = 200
"""Texts: most come several times, as a message, as an event, and in the trajectory."""


class Masker:
    """Of one request, from any thread. ``identity``: names and homes too, not secrets alone."""

    def __init__(
        self,
        *,
        identity: bool,
        home: str = "",
        user: str = "",
        full_name: str = "",
        host: str = "",
        domain_host: str = "",
    ) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._done: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._names: list[tuple[re.Pattern[str], str]] = []
        self._identity = identity
        self._restored: dict[str, str] = {}
        if identity:
            home = home.rstrip("/")
            if home.count("/") > 1:
                self._name(home, "<home>", "", r"(?![\w.-])")
            elif home:
                self._name(home, "<home>", r"(?<![\w./-])", r"(?![\w.-])")
            self._name(domain_host, "<full-host>")
            self._name(host, "<host>")
            self._name(full_name, "<name>")
            self._name(user, "<user>")

    @classmethod
    def here(cls, *, identity: bool) -> Masker:
        """For the names of this computer and of whoever runs this."""
        user, full_name, home = _whoami()
        whole = socket.gethostname()
        host = whole.partition(".")[0]
        return cls(
            identity=identity,
            home=home,
            user=user,
            full_name=full_name,
            host=host,
            domain_host=whole if whole != host else "",
        )

    def masked(self, text: str) -> str:
        """The text with placeholders. What is masked already stays as it is."""
        with self._lock:
            if text not in self._done:
                masked = self._without_names(self._without_secrets(text))
                if len(self._done) > _REMEMBERED:
                    self._done.clear()
                self._done[text] = self._done[masked] = masked
            return self._done[text]

    def restored(self, text: str) -> str:
        """The text with names and paths in place of their placeholders; secrets stay masked."""
        with self._lock:
            known = list(self._restored.items())
        for placeholder, value in known:
            text = text.replace(placeholder, value)
        return text

    def _without_secrets(self, text: str) -> str:
        small = text.lower()
        for hints, pattern in _SECRETS:
            if any(each in small for each in hints):
                text = pattern.sub(self._without_secret, text)
        return _DENSE.sub(self._without_dense, text)

    def _without_names(self, text: str) -> str:
        if not self._identity:
            return text
        if "@" in text:
            text = _MAIL.sub(self._without_mail, text)
        for pattern, placeholder in self._names:
            text = pattern.sub(placeholder, text)
        return _OTHER_HOME.sub(lambda match: self._placeholder("home", match[0]), text)

    def _name(
        self, name: str, placeholder: str, before: str = r"(?<![A-Za-z0-9<])", after: str = r"(?![A-Za-z0-9>])"
    ) -> None:
        if len(name) >= _LEAST_NAME and not _NOBODY.fullmatch(name) and not name.isdigit():
            self._names.append((re.compile(before + re.escape(name) + after), placeholder))
            self._restored.setdefault(placeholder, name)

    def _placeholder(self, kind: str, value: str) -> str:
        if value not in self._known:
            self._counts[kind] += 1
            self._known[value] = f"<{kind}-{self._counts[kind]}>"
            if kind == "home":
                self._restored[self._known[value]] = value
        return self._known[value]

    def _without_secret(self, match: re.Match[str]) -> str:
        value = match["s"]
        if _PLACEHOLDER.match(value):
            return match[0]
        start, end = match.start("s") - match.start(), match.end("s") - match.start()
        quote = value[0] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else ""
        hidden = self._placeholder("secret", value.strip(quote) if quote else value)
        return f"{match[0][:start]}{quote}{hidden}{quote}{match[0][end:]}"

    def _without_dense(self, match: re.Match[str]) -> str:
        value = match[0]
        kinds = (str.isupper, str.islower, str.isdigit)
        dense = all(any(map(kind, value)) for kind in kinds) and _bits_per_sign(value) >= _DENSE_BITS
        return self._placeholder("secret", value) if dense and value.count("/") <= 3 else value

    def _without_mail(self, match: re.Match[str]) -> str:
        return match[0] if _UNIT.search(match[0]) else self._placeholder("email", match[0])


def _whoami() -> tuple[str, str, str]:
    """Login name, full name and home; empty where there are none."""
    try:
        entry = pwd.getpwuid(os.getuid())
        return entry.pw_name, entry.pw_gecos.partition(",")[0], os.environ.get("HOME", entry.pw_dir)
    except KeyError:
        pass
    try:
        return getpass.getuser(), "", str(Path.home())
    except (OSError, KeyError, RuntimeError):
        return "", "", ""


def _bits_per_sign(text: str) -> float:
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
