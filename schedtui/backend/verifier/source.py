"""The first stage: what a policy's source may say, and whether it compiles.

A short look finds what no policy needs; where macros could hide such things from it, clang looks too, in its sandbox.
What the program does is for the stages after this one.
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from schedtui.backend.bpf import compiler
from schedtui.backend.errors import CompileFailed
from schedtui.backend.model import Finding, Stage
from schedtui.backend.verifier import sandbox
from schedtui.backend.verifier.findings import presentable
from schedtui.backend.verifier.sandbox import TooMuch

_MOST_FINDINGS = 8
_MOST_SEEN = 1000
_MOST_DETAIL_LINES = 6

_SPLICE = re.compile(r"\\[ \t\f\v]*\Z")
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<header>(?:\b__has_include|\b__has_include_next|\b__has_embed)\s*\(\s*<[^>\n]*>)
    |(?P<text>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)
    |(?P<line>\n)
    |(?P<pasting>\#\#|%:%:|\?\?)
    |(?P<hash>\#|%:)
    |(?P<word>[A-Za-z_$][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<space>[ \t\f\v\r]+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_HEADER_NAME = re.compile(r"[ \t]*[<\"]([^>\"\n]*)[>\"]")
_NAMES_A_FILE = ("include", "include_next", "import", "embed")
_HEADERS = (
    *("schedtui.bpf.h", "vmlinux.h", "scx/common.bpf.h", "scx/compat.bpf.h", "scx/enums.bpf.h"),
    *("scx/user_exit_info.h", "scx/user_exit_info.bpf.h"),
    *(f"bpf/{each}" for each in sandbox.BPF_HEADERS),
)
_PASTING_MACROS = "___"
"""How the names begin of those of libbpf's macros that make one name out of two that they are given."""
_ASSEMBLY = ("asm", "__asm", "__asm__")

_SAID = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):\d+: (?P<kind>fatal error|error|warning|note): (?P<text>.*)$", re.MULTILINE
)
_INCLUDED = re.compile(r"^\.+ (.+)$", re.MULTILINE)
_NOT_FOUND = re.compile(r"'(.+)' file not found")
_ASSEMBLY_REFUSED = "GNU-style inline assembly is disabled"
_TAIL_CALL = re.compile(r"\s*\d+ \|\s+asm volatile\(\"r1 = %\[ctx\]")
"""libbpf's own function for tail calls, which every policy includes and the object stage knows when it is used."""

_INCLUDE_REMEDY = "Keep #include <schedtui.bpf.h>, which brings everything that a policy needs, and delete this line."
_PLAIN_WORDS = (
    (r"use of undeclared identifier (.+)", "The name {0} is not known here: it is misspelt, or declared further down."),
    (r"call to undeclared function (.+?);.*", "There is no function called {0}: it is misspelt, or not for policies."),
    (r"no member named (.+) in (.+)", "{1} has no part called {0}, or schedtui's header does not show it."),
    (r"unknown type name (.+)", "There is no type called {0}."),
    (r"expected (.+)", "The sentence is not complete here: {0} is missing."),
    (r"redefinition of (.+)", "{0} is defined twice."),
    (r"(?:too many|too few) arguments to .*", "The call does not give this function as many values as it takes."),
    (
        r".*(?:call to built-in function '(.+)' is not supported).*",
        "BPF programs have no {0}: copy or compare in a loop.",
    ),
    (r".*stack.*(?:exceed|limit).*", "The variables of one function take more than the 512 bytes that BPF allows."),
)


def check_source(path: Path) -> tuple[Stage, bytes | None]:
    """Judge a ``.bpf.c`` file; the object is there when the stage did not fail.

    Raises BadFile when it cannot be read, and MissingTool without clang or a sandbox: then nothing was judged.
    """
    return check_text(path.name, sandbox.read_source(path))


def check_text(name: str, text: bytes) -> tuple[Stage, bytes | None]:
    """Like ``check_source``, for a source that the caller has."""
    began = time.monotonic()
    findings, obj = _judge(name, text)
    stage = Stage(
        name="source",
        verdict="fail" if obj is None else "pass",
        seconds=time.monotonic() - began,
        findings=tuple(findings[:_MOST_FINDINGS]),
        summary=f"{len(text.splitlines())} lines" + ("" if obj is None else ", compiled in a sandbox"),
        figures={"source_bytes": len(text), "object_bytes": len(obj or b"")},
    )
    return presentable(stage), obj


def _judge(name: str, text: bytes) -> tuple[list[Finding], bytes | None]:
    try:
        if len(text) > compiler.SOURCE_LIMIT_BYTES:
            raise TooMuch(f"{name} is longer than {compiler.SOURCE_LIMIT_BYTES >> 20} MB.", "Keep tables out of it.")
        seen = list(islice(_suspicious(text.decode("utf-8", "replace")), _MOST_SEEN))
        findings = [_finding(each.rule, f"{name}:{each.line}", each.word) for each in seen if each.rule]
        if seen and not findings:
            findings = _ask_clang(name, text)
        return (findings, None) if findings else ([], sandbox.compile_text(name, text))
    except TooMuch as error:
        return [_too_much(name, error)], None
    except CompileFailed as error:
        return _of_errors(error.details) or [_does_not_compile(name, error.message, error.details)], None


class _Seen(NamedTuple):
    """A word that no policy needs, or, without a rule, one behind which a macro could hide such a word."""

    rule: str
    line: int
    word: str


def _suspicious(text: str) -> Iterator[_Seen]:
    spliced, lines = _splice(text)
    position, fresh_line, in_directive = 0, True, False
    while position < len(spliced):
        token = _TOKEN.match(spliced, position)
        assert token  # the last alternative matches anything
        kind, word, here = token.lastgroup, token[0], lines.of(position)
        position = token.end()
        if kind in ("comment", "space"):
            continue
        if in_directive and word in _NAMES_A_FILE:
            header = _HEADER_NAME.match(spliced, position)
            if word == "embed":
                yield _Seen("embedded-file", here, "#embed")
            elif header is None or header[1] not in _HEADERS:
                yield _Seen("", here, word)
            position = header.end() if header else position
        elif in_directive and (word == "line" or kind == "number"):
            yield _Seen("false-lines", here, "#line")
        elif kind == "word" and word in _ASSEMBLY:
            yield _Seen("inline-assembly", here, word)
        elif kind == "pasting" or word.startswith(_PASTING_MACROS):
            yield _Seen("", here, word)
        in_directive = kind == "hash" and fresh_line
        fresh_line = kind == "line"


class _Lines(NamedTuple):
    """Where the lines of the file begin in a text whose continued lines were joined."""

    starts: list[int]

    def of(self, position: int) -> int:
        return bisect.bisect_right(self.starts, position)


def _splice(text: str) -> tuple[str, _Lines]:
    """Join the lines that end in a backslash, as a compiler does before it looks at anything else."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for line in re.split(r"\r\n|\n|\r", text):
        starts.append(length)
        joined = _SPLICE.sub("", line)
        parts.append(joined if len(joined) < len(line) else f"{line}\n")
        length += len(parts[-1])
    return "".join(parts), _Lines(starts)


def _ask_clang(name: str, text: bytes) -> list[Finding]:
    """What the source includes, and whether it holds assembly, when all its macros are expanded."""
    options = [*compiler.language_options(sandbox.INCLUDE), "-fsyntax-only", "-fno-gnu-inline-asm", "-H"]
    looked = sandbox.run_clang(compiler.find_clang(), [*options, "-ferror-limit=0"], name, text)
    foreign = [each for each in dict.fromkeys(_INCLUDED.findall(looked.messages)) if not _is_ours(each, name)]
    return _of_errors(looked.messages) + [_finding("foreign-include", name, each) for each in foreign]


def _of_errors(messages: str) -> list[Finding]:
    """clang's errors, as findings; one a line, because the next on it is often the consequence of the first."""
    found: dict[tuple[str, str], Finding] = {}
    for error in _errors(messages.replace("./", "")):
        missing = _NOT_FOUND.match(error.text)
        if _is_libbpfs_own(error):
            continue
        if missing:
            finding = _finding("foreign-include", error.place, missing[1], error.excerpt)
        elif _ASSEMBLY_REFUSED in error.text:
            finding = _finding("inline-assembly", error.place, "asm", error.excerpt)
        else:
            finding = _does_not_compile(error.place, error.text, error.excerpt)
        found.setdefault((finding.rule, finding.place), finding)
    return list(found.values())


class _Error(NamedTuple):
    """What clang says, and the lines that it shows of the source."""

    place: str
    text: str
    excerpt: str
    of_macro: bool


def _errors(messages: str) -> Iterator[_Error]:
    said = list(_SAID.finditer(messages))
    for each, following in zip(said, [*said[1:], None], strict=True):
        if "error" in each["kind"]:
            shown = messages[each.end() : following.start() if following else len(messages)]
            excerpt = "\n".join(islice((line for line in shown.splitlines() if " | " in line), _MOST_DETAIL_LINES))
            of_macro = following is not None and following["kind"] == "note" and "from macro" in following["text"]
            yield _Error(f"{each['file']}:{each['line']}", each["text"], excerpt, of_macro)


def _is_libbpfs_own(error: _Error) -> bool:
    """Whether this is the one piece of assembly that libbpf's header has, and not what a macro put in its place."""
    in_header = error.place.partition(":")[0].endswith("/bpf/bpf_helpers.h")
    return (
        in_header and _ASSEMBLY_REFUSED in error.text and bool(_TAIL_CALL.match(error.excerpt)) and not error.of_macro
    )


def _is_ours(included: str, name: str) -> bool:
    path = Path(included)
    return not path.is_absolute() or path.name in sandbox.BPF_HEADERS or path.name == name


def _too_much(name: str, error: TooMuch) -> Finding:
    return Finding(
        rule="too-large",
        severity="error",
        place=name,
        meaning=f"It takes more time, memory or space than any scheduler does. {error.message}",
        remedy=error.remedy,
    )


def _does_not_compile(place: str, text: str, excerpt: str) -> Finding:
    said, _, suggestion = text.partition("; did you mean ")
    plain = f"clang says: {said}."
    for pattern, words in _PLAIN_WORDS:
        matched = re.fullmatch(pattern, said)
        if matched:
            plain = words.format(*matched.groups())
            break
    return Finding(
        rule="does-not-compile",
        severity="error",
        place=place,
        meaning=plain,
        remedy=f"Did you mean {suggestion}" if suggestion else "Mend the line and verify again.",
        details="\n".join(part for part in (text, excerpt) if part),
    )


def _finding(rule: str, place: str, word: str, details: str = "") -> Finding:
    meaning, remedy = {
        "foreign-include": (f"It includes {word}, which is no part of schedtui's header.", _INCLUDE_REMEDY),
        "inline-assembly": (
            "It holds inline assembly, which can hide what a policy does, or open files.",
            "Say it in C; the header has what policies need.",
        ),
        "embedded-file": (
            "It copies the bytes of a file into the program, where nobody sees what they are.",
            "Write constants as numbers.",
        ),
        "false-lines": (
            "It gives its lines other numbers or another file's name, so that findings would point at the wrong place.",
            "Delete the #line.",
        ),
    }[rule]
    return Finding(rule=rule, severity="error", place=place, meaning=meaning, remedy=remedy, details=details)
