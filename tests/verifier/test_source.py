"""The source stage: what a policy may say, what a hostile one tries, and that clang is never let out of its sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from schedtui.backend.bpf import compiler
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import compiled
from schedtui.backend.errors import BadFile, CompileFailed, MissingTool
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Finding
from schedtui.backend.verifier import sandbox
from schedtui.backend.verifier.rules import RULES
from schedtui.backend.verifier.sandbox import compile_sandboxed
from schedtui.backend.verifier.source import check_source, check_text
from schedtui.paths import shipped

FAIR = shipped("library") / "fair" / "fair.bpf.c"
OLD_STYLE = Path(__file__).parent.parent / "bpf" / "old_style.bpf.c"
HEADER = "#include <schedtui.bpf.h>\n"
SECRET = "root:x:0:0:the-secret"


@pytest.fixture(autouse=True, scope="module")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.h"
    path.write_text(f"{SECRET}\n")
    return path


def findings_of(text: str, name: str = "policy.bpf.c") -> tuple[Finding, ...]:
    """What the stage finds in a source that must not pass."""
    stage, obj = check_text(name, text.encode())
    assert obj is None
    assert stage.verdict == "fail"
    assert stage.findings
    for each in stage.findings:
        assert RULES[each.rule].stage == "source"
        assert each.severity == "error"
        assert each.meaning and each.remedy
    return stage.findings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fair"])
def test_a_policy_that_ships_passes_and_becomes_the_same_object_as_outside_of_the_sandbox(name: str) -> None:
    source = Path(load_library().policy(name).source)
    stage, obj = check_source(source)
    assert stage.verdict == "pass", stage.findings
    assert obj == compile_bpf(source)


def test_the_names_that_other_sched_ext_sources_use_for_the_header_pass() -> None:
    assert check_source(OLD_STYLE)[0].verdict == "pass"


WAYS_TO_A_FILE = [
    '#include "SECRET"',
    '#define FILE_NAME "SECRET"\n#include FILE_NAME',
    'const char s[] = {\n%:em\\\nbed "SECRET"\n};',
    '__asm__(".incbin \\"SECRET\\"");',
    '#define J(a, b) a##b\nJ(as, m)(".incbin \\"SECRET\\"");',
    '#if __has_include(</*>)\n#endif\nasm(".incbin \\"SECRET\\""); /* */',
    '#line 1 "x"\n#include "SECRET"',
]
FURTHER_WAYS_TO_A_FILE = [
    "#include <SECRET>",
    '%:include "SECRET"',
    '#  /* a */ include /* b */ "SECRET"',
    '#inc\\\nlude "SECRET"',
    '#include_next "SECRET"',
    '#import "SECRET"',
    '#pragma clang system_header\n#include "SECRET"',
    '#pragma include_alias("a.h", "SECRET")\n#include "SECRET"',
    '_Pragma("GCC dependency \\"SECRET\\"")\n#include "SECRET"',
    '#embed "SECRET"',
    '___concat(__as, m__)(".incbin \\"SECRET\\"");',
    '#define asm_of(x) x(".incbin \\"SECRET\\"")\nasm_of(__asm);',
    '#include "/proc/self/root/SECRET"',
    '#include "../../../../../../SECRET"',
    '#include "./SECRET"',
]


@pytest.mark.parametrize(
    "include", [*WAYS_TO_A_FILE, *(pytest.param(each, marks=pytest.mark.soak) for each in FURTHER_WAYS_TO_A_FILE)]
)
def test_no_way_to_name_a_file_reads_it(include: str, secret: Path) -> None:
    text = HEADER + include.replace("SECRET", str(secret)) + "\n"
    for each in findings_of(text):
        assert SECRET not in each.meaning + each.details
        assert each.rule != "no-sandbox"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('#include "/etc/passwd"', "foreign-include"),
        ("#include <bpf/libbpf.h>", "foreign-include"),
        (f'#include "{compiler.find_clang().path}"', "foreign-include"),
        ('const char me[] = {\n#embed "policy.bpf.c"\n};', "embedded-file"),
        ('asm("nop");', "inline-assembly"),
        ('void f(void) { ___concat(__as, m__) volatile("r0 = 1"); }', "inline-assembly"),
        ('#line 1 "include/schedtui.bpf.h"', "false-lines"),
        ('# 1 "include/schedtui.bpf.h" 1', "false-lines"),
        ("int x = 1 +;", "does-not-compile"),
        ("int x = no_such_name;", "does-not-compile"),
    ],
)
def test_each_rule_names_itself_and_the_line(line: str, rule: str) -> None:
    (first, *_) = findings_of(HEADER + line + "\n")
    assert first.rule == rule
    assert first.place.startswith("policy.bpf.c")


LOOKS_ALIKE = r"""
/* asm, #embed and #line are words here */
const char words[] = "asm(\"nop\") #embed";
// a line that goes on \
#embed "x"
#if 0
#include <no/such.h>
#endif
#ifdef LSP
#include "../../include/scx/common.bpf.h"
#endif
#if __has_include("/etc/passwd") || __has_include("/etc/ld.so.cache") || __has_include("/proc/self/status")
#error it can see the computer
#endif
#if __has_include("/usr/include/bpf/libbpf.h") || __has_include("/usr/include/stdio.h") || __has_include("/bin/sh")
#error it can see other programs
#endif
#if __has_include("/dev/null") || __has_include("/sys/kernel/notes") || __has_include("/tmp/.")
#error it can see folders
#endif
#define J(a, b) a##b
int asmara, embed, line, J(as, k);
void f(int *p) { barrier_var(p); barrier(); J(as, m) volatile("" ::: "memory"); }
"""


def test_what_only_looks_like_it_passes() -> None:
    stage, obj = check_text("policy.bpf.c", (HEADER + LOOKS_ALIKE).encode())
    assert stage.findings == ()
    assert obj is not None and obj.startswith(b"\x7fELF")


def test_the_line_of_a_finding_counts_lines_that_go_on() -> None:
    (only,) = findings_of(HEADER + '#define LONG 1 + \\\n 2 + \\\n 3\n/* a\n b */\nvoid f(void) { asm(""); }\n')
    assert only.place == "policy.bpf.c:7"


def test_every_error_of_clang_becomes_a_finding_in_plain_words() -> None:
    found = findings_of("int f(void)\n{\n\treturn first_name;\n}\nint g(void)\n{\n\treturn second_name;\n}\n")
    assert [each.place for each in found] == ["policy.bpf.c:3", "policy.bpf.c:7"]
    assert "'first_name' is not known" in found[0].meaning
    assert "return first_name;" in found[0].details


def test_what_a_finding_quotes_cannot_take_the_terminal_over() -> None:
    (only,) = findings_of('#include "\x1b[2J\x07' + "x" * 5000 + '"\n')
    shown = only.place + only.meaning + only.remedy + only.details
    assert "\x1b" not in shown and "\x07" not in shown
    assert len(only.meaning) < 2000


def test_an_error_that_only_the_making_of_the_object_shows_is_found_too() -> None:
    (only, *_) = findings_of(HEADER + "u64 f(u64 i) { volatile u64 many[1000]; many[i] = 1; return many[i + 1]; }\n")
    assert only.rule == "does-not-compile"


def test_a_source_that_expands_without_end_is_stopped_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "TIME_LIMIT_S", 0.3)
    doublings = "\n".join(f"#define M{n + 1} M{n} M{n}" for n in range(40))
    (only,) = findings_of(f"#define M0 x+\n{doublings}\nint x, y = M40 0;\n")
    assert only.rule == "too-large"
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("char big[8 << 20] = { 1 };\n", "object would be larger"),
        ("int x; /*" + "a" * (1 << 20) + "*/\n", "longer than 1 MB"),
    ],
)
def test_what_is_too_large_is_said_to_be(text: str, said: str) -> None:
    (only,) = findings_of(text)
    assert only.rule == "too-large"
    assert said in only.meaning


@pytest.mark.soak
def test_a_source_that_wants_all_memory_ends_its_own_compiler_only() -> None:
    (only,) = findings_of("#define A(x) x x x x x x x x\n#define B(x) A(A(A(A(A(A(A(A(A(x)))))))))\nint B(B(a));\n")
    assert only.rule == "too-large"


def test_a_constructor_that_forks_is_compiled_and_never_run() -> None:
    stage, _ = check_text(
        "policy.bpf.c", (HEADER + "__attribute__((constructor)) void bomb(void) { for (;;) ; }\n").encode()
    )
    assert stage.verdict == "pass"
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize("name", ["a\nb.bpf.c", "$(reboot).bpf.c", "x" * 300 + ".bpf.c", "\udc80.bpf.c"])
def test_a_name_that_no_source_has_is_refused(name: str) -> None:
    with pytest.raises(BadFile, match="cannot be the name"):
        check_text(name, b"int x;\n")


def test_a_link_a_folder_a_pipe_and_a_missing_file_are_refused_by_name(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "link.bpf.c").symlink_to(secret)
    (tmp_path / "folder.bpf.c").mkdir()
    os.mkfifo(tmp_path / "pipe.bpf.c")
    for name in ("link.bpf.c", "folder.bpf.c", "pipe.bpf.c", "missing.bpf.c"):
        with pytest.raises(BadFile, match=name.replace(".", r"\.")):
            check_source(tmp_path / name)
        with pytest.raises(BadFile):
            compile_sandboxed(tmp_path / name)


def test_headers_beside_a_source_are_not_seen(tmp_path: Path) -> None:
    (tmp_path / "answer.h").write_text("#define ANSWER 42\n")
    source = tmp_path / "policy.bpf.c"
    source.write_text('#include "answer.h"\nint x = ANSWER;\n')
    assert compile_bpf(source).startswith(b"\x7fELF")
    with pytest.raises(CompileFailed, match=r"answer\.h"):
        compile_sandboxed(source)


def test_what_a_user_brought_is_never_compiled_outside_of_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "answer.h").write_text("#define ANSWER 42\n")
    (tmp_path / "fair.bpf.c").write_text('#include "answer.h"\nint x = ANSWER;\n')
    policy = replace(load_library().policy("fair"), source=str(tmp_path / "fair.bpf.c"))
    assert compiled(policy).startswith(b"\x7fELF")
    for origin in ("user", "generated"):
        with pytest.raises(CompileFailed, match=r"answer\.h"):
            compiled(replace(policy, origin=origin))


def test_without_bubblewrap_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "clang").symlink_to(compiler.find_clang().path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingTool, match="bubblewrap is not installed") as caught:
        check_text("policy.bpf.c", b"int without_bubblewrap;\n")
    assert "bubblewrap" in caught.value.remedy


def test_where_no_room_can_be_made_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bubblewrap that the kernel refuses what it needs says so in this way."""
    (tmp_path / "bin").mkdir()
    for name in ("clang", "ldd"):
        (tmp_path / "bin" / name).symlink_to(
            compiler.find_clang().path if name == "clang" else shutil.which(name) or ""
        )
    refused = tmp_path / "bin" / "bwrap"
    refused.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refused.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingTool, match="No sandbox") as caught:
        check_text("policy.bpf.c", b"int without_a_room;\n")
    assert "user namespaces" in caught.value.remedy
    assert "No permissions" in caught.value.details


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_privileges_has_the_same_sandbox(tmp_path: Path) -> None:
    shutil.copytree(Path(compiler.__file__).parents[3] / "schedtui", tmp_path / "code" / "schedtui")
    shutil.copytree(shipped("bpf"), tmp_path / "code" / "bpf")
    script = "from pathlib import Path\nimport sys\nsys.path[:0] = sys.argv[2:]\n"
    script += "from schedtui.backend.verifier.source import check_text\n"
    script += "print(check_text('policy.bpf.c', Path(sys.argv[1]).read_bytes())[0].verdict)\n"
    packages = next(each for each in sys.path if each.endswith("site-packages"))
    copied = Path(shutil.copy(FAIR, tmp_path))
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and each != Path("/") and not each.stat().st_mode & 0o001:
            each.chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, copied, tmp_path / "code", packages],
        user="nobody",
        env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "pass", done.stderr
