"""Compiling a policy: once for each content, the same object everywhere, and errors that name the line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from schedtui.backend.bpf import compiler as compiler_module
from schedtui.backend.bpf.compiler import compile_bpf, compile_native, find_clang
from schedtui.backend.errors import BadFile, CompileFailed, MissingTool

SETTINGS = Path(__file__).parent / "sources" / "settings.bpf.c"
REAL_CLANG = find_clang().path


class Compiler:
    """The real clang behind a script that counts its runs; the only one in PATH."""

    def __init__(self, folder: Path) -> None:
        self._count = folder / "runs"
        script = folder / "clang"
        script.write_text(f'#!/bin/sh\necho "$1" >> {self._count}\nexec {REAL_CLANG} "$@"\n')
        script.chmod(0o755)

    @property
    def compilations(self) -> int:
        lines = self._count.read_text().splitlines() if self._count.exists() else []
        return len(lines) - lines.count("--version")

    @property
    def runs(self) -> int:
        return len(self._count.read_text().splitlines())


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Compiler(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(folder: Path, text: str, name: str = "policy.bpf.c") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / name
    source.write_text(text)
    return source


def test_a_second_compilation_of_the_same_source_starts_no_compiler(compiler: Compiler, cache: Path) -> None:
    first = compile_bpf(SETTINGS, cache=cache)
    assert first.startswith(b"\x7fELF")
    runs = compiler.runs

    assert compile_bpf(SETTINGS, cache=cache) == first
    assert compiler.runs == runs


def test_a_changed_source_or_a_changed_header_beside_it_is_compiled_again(
    compiler: Compiler, cache: Path, tmp_path: Path
) -> None:
    header = write(tmp_path / "p", "#define ANSWER 41\n", "answer.h")
    source = write(tmp_path / "p", '#include "answer.h"\nint answer = ANSWER;\n')
    objects = [compile_bpf(source, cache=cache)]
    header.write_text("#define ANSWER 42\n")
    objects.append(compile_bpf(source, cache=cache))
    source.write_text('#include "answer.h"\nint answer = ANSWER + 1;\n')
    objects.append(compile_bpf(source, cache=cache))

    assert len(set(objects)) == 3
    assert compiler.compilations == 3


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: whole[:-1] + b"?", lambda _: b""])
def test_a_damaged_cache_entry_is_noticed_and_built_again(compiler: Compiler, cache: Path, damage: object) -> None:
    good = compile_bpf(SETTINGS, cache=cache)
    for entry in cache.iterdir():
        entry.write_bytes(damage(entry.read_bytes()))  # type: ignore[operator]

    assert compile_bpf(SETTINGS, cache=cache) == good
    assert compiler.compilations == 2
    assert compile_bpf(SETTINGS, cache=cache) == good
    assert compiler.compilations == 2, "and stored again"


def test_without_a_cache_that_can_be_written_it_still_compiles(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    assert compile_bpf(SETTINGS, cache=in_the_way).startswith(b"\x7fELF")


def test_nothing_half_written_stays_in_the_cache(cache: Path) -> None:
    compile_bpf(SETTINGS, cache=cache)
    assert not [each.name for each in cache.iterdir() if each.name.startswith(".")]


def test_the_cache_forgets_what_was_written_first(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_module, "_CACHE_LIMIT_BYTES", 4096)
    cache.mkdir()
    for age, name in ((9000, "old"), (8000, ".new-cut-short")):
        (cache / name).write_bytes(b"x" * 4000)
        os.utime(cache / name, (time.time() - age, time.time() - age))
    obj = compile_bpf(write(tmp_path / "p", "int x = 1;\n"), cache=cache)
    assert sum(each.stat().st_size for each in cache.iterdir()) <= 4096
    assert not {"old", ".new-cut-short"} & {each.name for each in cache.iterdir()}
    assert compile_bpf(tmp_path / "p" / "policy.bpf.c", cache=cache) == obj


def test_the_object_does_not_depend_on_where_the_source_lies(tmp_path: Path) -> None:
    objects = set()
    for where in ("one", "another/deeper"):
        folder = tmp_path / where
        folder.mkdir(parents=True)
        objects.add(compile_bpf(Path(shutil.copy(SETTINGS, folder)), cache=folder / "cache"))
    (same,) = objects
    assert str(tmp_path).encode() not in same
    assert os.fsencode(Path(__file__).parents[2]) not in same, "nor on where the headers lie"


def test_an_error_names_the_file_and_the_line_and_shows_the_code(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "p", "#include <schedtui.bpf.h>\n\nint f(void)\n{\n\treturn no_such_thing;\n}\n")
    with pytest.raises(CompileFailed) as caught:
        compile_bpf(source, cache=cache)
    assert caught.value.message.startswith("policy.bpf.c:5: ")
    assert "no_such_thing" in caught.value.message
    assert "return no_such_thing;" in caught.value.details
    assert str(tmp_path) not in caught.value.details


def test_an_error_inside_a_header_names_the_header(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "p", "int f(void) { return missing; }\n", "part.h")
    source = write(tmp_path / "p", '#include "part.h"\n')
    with pytest.raises(CompileFailed, match=r"^part\.h:1: "):
        compile_bpf(source, cache=cache)


@pytest.mark.slow
def test_a_source_that_expands_without_end_is_stopped(tmp_path: Path, cache: Path) -> None:
    doublings = "\n".join(f"#define M{n + 1} M{n} M{n}" for n in range(40))
    source = write(tmp_path / "p", f"#define M0 x+\n{doublings}\nint x, y = M40 0;\n")
    with pytest.raises(CompileFailed) as caught:
        compile_bpf(source, cache=cache, time_limit_s=0.5)
    assert "did not finish" in caught.value.message
    assert not psutil.Process().children(), "no compiler is left behind"


@pytest.mark.slow
def test_an_object_that_is_too_large_is_refused(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "p", "char big[8 << 20] = { 1 };\n")
    with pytest.raises(CompileFailed, match="3 MB"):
        compile_bpf(source, cache=cache)


def test_it_compiles_where_the_user_is_already_limited(tmp_path: Path) -> None:
    script = f"import sys; from pathlib import Path; from {compile_bpf.__module__} import compile_bpf\n"
    script += "sys.stdout.buffer.write(compile_bpf(Path(sys.argv[1]), cache=Path(sys.argv[2])))"
    command = [sys.executable, "-c", script, str(SETTINGS), str(tmp_path)]
    as_a_user = ["setpriv", "--bounding-set=-sys_resource"] if os.geteuid() == 0 else []
    limited = ["sh", "-c", 'ulimit -f 4096 && ulimit -t 15 && exec "$@"', "sh", *as_a_user, *command]
    assert subprocess.run(limited, capture_output=True, check=True).stdout.startswith(b"\x7fELF")


def test_a_source_that_is_not_there_or_not_a_file_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(BadFile, match=r"missing\.bpf\.c"):
        compile_bpf(tmp_path / "missing.bpf.c", cache=cache)
    (tmp_path / "folder.bpf.c").mkdir()
    with pytest.raises(BadFile, match=r"folder\.bpf\.c"):
        compile_bpf(tmp_path / "folder.bpf.c", cache=cache)


def test_a_source_named_like_an_option_is_still_a_source(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "p", "int x = 1;\n", "--version.bpf.c")
    assert compile_bpf(source, cache=cache).startswith(b"\x7fELF")


def fake_clang(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho 'Some clang version {version}'\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("installed", "said"), [([], "not installed"), ([("clang", "14.0.6")], "clang 14 is too old")])
def test_a_missing_or_old_compiler_is_said_with_what_installs_it(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: list[tuple[str, str]],
    said: str,
) -> None:
    (tmp_path / "bin").mkdir()
    for name, version in installed:
        fake_clang(tmp_path / "bin", name, version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingTool, match=said) as caught:
        compile_bpf(SETTINGS, cache=cache)
    for installer in ("apt install", "dnf install", "pacman -S"):
        assert installer in caught.value.remedy


def test_where_the_compiler_has_gone_what_it_made_still_serves(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "p", "int x = 1;\n")
    obj = compile_bpf(source, cache=cache)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_bpf(write(tmp_path / "elsewhere", "int x = 1;\n"), cache=cache) == obj
    write(tmp_path / "p", "int x = 2;\n")
    with pytest.raises(MissingTool, match="not installed"):
        compile_bpf(source, cache=cache)


@pytest.mark.parametrize(("plain", "newest"), [("17.0.1", "clang-18"), ("19.1.7", "clang")])
def test_the_newest_compiler_is_taken_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: str, newest: str
) -> None:
    for name, version in (("clang", plain), ("clang-9", "9.0.0"), ("clang-18", "18.1.0"), ("clang-format", "99.0")):
        fake_clang(tmp_path / "bin", name, version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(find_clang().path).name == newest


def test_a_native_program_of_ours_is_compiled_once_and_runs(tmp_path: Path) -> None:
    source = tmp_path / "hello.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n')
    program = tmp_path / "hello"
    program.write_bytes(compile_native(source, cache=tmp_path / "cache"))
    program.chmod(0o755)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello\n"

    kept = list((tmp_path / "cache").iterdir())
    compile_native(source, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == kept


def test_a_native_program_with_a_fault_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int main(void) { return 1 }\n")
    with pytest.raises(CompileFailed, match=r"bad\.c:1: expected ';'"):
        compile_native(tmp_path / "bad.c", cache=tmp_path / "cache")
