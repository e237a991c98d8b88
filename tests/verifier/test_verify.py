"""From a file to a report: which stages run, what is said, and how the command ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.verifier import reports
from schedtui.backend.verifier.verify import verify
from schedtui.screens.known import look_up
from tests.cli.commands import schedtui
from tests.conftest import DEFAULT, kernel_image, quiet
from tests.corpus.misbehaviour import FOLDER

FAIR = load_library().policy("fair")


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_a_source_that_does_not_compile_ends_at_the_first_stage(tmp_path: Path) -> None:
    (tmp_path / "bad.bpf.c").write_text("#include <schedtui.bpf.h>\nint x = ;\n")
    (report,) = verify(tmp_path / "bad.bpf.c", progress=quiet)
    assert (report.verdict, report.digest, report.kernel) == ("fail", "", None)
    assert [each.name for each in report.stages] == ["source"]
    assert report.findings[0].place == "bad.bpf.c:2"


def test_a_policy_that_failed_at_its_source_is_known_as_failed_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "bad.bpf.c"
    path.write_text("#include <schedtui.bpf.h>\nint x = ;\n")
    policy = replace(FAIR, name="bad", source=str(path), origin="user")
    verify(path, settings={"slice_us": 2000}, quick=True, progress=quiet)
    assert [(each.verdict, each.settings) for each in look_up(policy).reports] == [("fail", {})]
    path.write_text("#include <schedtui.bpf.h>\nint x;\n")
    assert look_up(policy).reports == ()


def test_a_failure_of_the_logic_is_known_by_the_object(tmp_path: Path) -> None:
    bad = FOLDER / "bytecode" / "forgets-forked.bpf.c"
    (report,) = verify(bad, progress=quiet)
    assert report.stages[-1].name == "bytecode"
    (known,) = reports.of(report.digest)
    assert (known.verdict, known.findings) == ("fail", report.findings)


def test_an_object_that_is_none_ends_at_the_object_stage(tmp_path: Path) -> None:
    (tmp_path / "odd.bpf.o").write_bytes(b"not an object")
    (report,) = verify(tmp_path / "odd.bpf.o", progress=quiet)
    assert [(each.name, each.verdict) for each in report.stages] == [("object", "fail")]
    assert report.findings[0].rule == "not-an-object"


def test_an_object_far_too_large_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    with (tmp_path / "huge.bpf.o").open("wb") as huge:
        huge.write(b"\x7fELF")
        huge.truncate(100 << 20)
    (report,) = verify(tmp_path / "huge.bpf.o", progress=quiet)
    assert (report.verdict, report.stages[-1].name) == ("fail", "object")


def test_a_file_that_is_not_there_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        verify(tmp_path / "missing.bpf.o", progress=quiet)


def test_the_command_tells_what_is_wrong_where_and_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "bad.bpf.c").write_text('#include <schedtui.bpf.h>\n#include "/etc/passwd"\n')
    ended = schedtui("verify", str(tmp_path / "bad.bpf.c"))
    assert ended.code == 1
    assert ended.out.startswith("bad failed.\n")
    assert "bad.bpf.c:2 (foreign-include)" in ended.out


def test_the_command_speaks_json_with_the_keys_of_a_report(tmp_path: Path) -> None:
    (tmp_path / "odd.bpf.o").write_bytes(b"\x7fELF")
    ended = schedtui("verify", str(tmp_path / "odd.bpf.o"), "--json")
    assert ended.code == 1
    assert (ended.spoken["verdict"], ended.spoken["kernel"]) == ("fail", None)
    assert ended.spoken["stages"][0]["name"] == "object"
    finding = ended.spoken["findings"][0]
    assert {"rule", "severity", "place", "meaning", "remedy"} <= set(finding)
    assert len(ended.spoken["digest"]) == 64


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["/nonexistent/policy.bpf.c"],
        ["scx_bpfland"],
        ["fair", "--set", "slice_us=many"],
        ["fair", "--kernels", "/nonexistent/vmlinuz"],
    ],
)
def test_what_cannot_be_judged_ends_with_2_and_a_sentence(arguments: list[str]) -> None:
    ended = schedtui("verify", *arguments)
    assert ended.code == 2
    assert "\nschedtui: " in f"\n{ended.err}"  # after what was done, on a slow computer


@pytest.mark.lab
def test_a_policy_is_proven_once_and_its_report_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    kernels = (kernel_image(DEFAULT),)
    (first,) = verify(Path(FAIR.source), kernels=kernels, quick=True, policy=FAIR, progress=quiet)
    assert first.verdict == "pass", reports.text(first)
    assert [each.name for each in first.stages] == ["source", "object", "bytecode", "kernel"]
    assert first.kernel is not None and first.kernel.build_id
    (again,) = verify(Path(FAIR.source), kernels=kernels, quick=True, policy=FAIR, progress=quiet)
    assert (again.made_at, again.stages[-1]) == (first.made_at, first.stages[-1])
    (other,) = verify(
        Path(FAIR.source), kernels=kernels, settings={"slice_us": 2000}, quick=True, policy=FAIR, progress=quiet
    )
    assert other.settings == {"slice_us": 2000} and other.made_at > first.made_at

    built = tmp_path / "fair.bpf.o"
    built.write_bytes(compile_bpf(Path(FAIR.source)))
    ended = schedtui(
        "verify", str(built), "--quick", "--json", "--kernels", str(kernels[0]), XDG_DATA_HOME=str(tmp_path)
    )
    assert (ended.code, ended.spoken["verdict"]) == (0, "pass"), ended.out
    assert [each["name"] for each in ended.spoken["stages"]] == ["object", "bytecode", "kernel"]
