"""Reports are kept for what they hold for, found again, and read well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.model import Finding, KernelId, Report, Stage
from schedtui.backend.verifier import reports
from schedtui.backend.verifier.verify import for_this_computer

KERNEL = KernelId(release="6.18.15", build_id="ab" * 20, btf_hash="cd" * 32)
OTHER = KernelId(release="6.18.15", build_id="ab" * 20, btf_hash="ef" * 32)
FINDING = Finding(
    rule="slow-wakeups",
    severity="warning",
    place="more programs than CPUs",
    meaning="A program that wakes up waits 180 ms.",
    remedy="Shorten the slice.",
    details="\n".join(f"line {n}" for n in range(50)),
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "schedtui" / "reports"


def report(*, quick: bool = False, slice_us: int = 5000, made_at: float = 1000) -> Report:
    figures = {"wakeup_p99_us": 9000.0, "eevdf_wakeup_p99_us": 4000.0}
    stages = (
        Stage(name="source", verdict="pass", seconds=0.1, summary="200 lines"),
        Stage(name="kernel", verdict="warn", seconds=11, findings=(FINDING,), figures=figures),
    )
    return Report(
        name="fair",
        verdict="warn",
        digest="12" * 32,
        settings={"slice_us": slice_us},
        kernel=KERNEL,
        stages=stages,
        quick=quick,
        made_at=made_at,
        rules=reports.rules_version(),
    )


def test_a_report_is_found_for_its_object_settings_and_kernel_and_for_no_other() -> None:
    kept = report()
    reports.save(kept)
    assert reports.find(kept.digest, {"slice_us": 5000}, KERNEL) == kept
    assert reports.find(kept.digest, {"slice_us": 1}, KERNEL) is None
    assert reports.find(kept.digest, {"slice_us": 5000}, OTHER) is None
    assert reports.find("34" * 32, {"slice_us": 5000}, KERNEL) is None


def test_true_is_not_taken_for_one() -> None:
    reports.save(replace(report(), settings={"strict": True}))
    assert reports.find(report().digest, {"strict": 1}, KERNEL) is None


def test_a_full_report_answers_for_a_quick_one_and_not_the_other_way_round() -> None:
    quick = report(quick=True)
    reports.save(quick)
    assert reports.find(quick.digest, quick.settings, KERNEL) is None
    assert reports.find(quick.digest, quick.settings, KERNEL, quick=True) == quick
    full = report()
    reports.save(full)
    assert reports.find(quick.digest, quick.settings, KERNEL, quick=True) == full


def test_all_reports_of_an_object_come_newest_first() -> None:
    for made_at, slice_us in ((2, 100), (3, 200), (1, 300)):
        reports.save(report(made_at=made_at, slice_us=slice_us))
    assert [each.made_at for each in reports.of(report().digest)] == [3, 2, 1]
    assert reports.of("nothing") == []


def test_a_report_of_other_rules_does_not_hold_any_more() -> None:
    reports.save(replace(report(), rules="of last year"))
    assert reports.of(report().digest) == []


def test_a_damaged_report_counts_as_not_there(own_folder: Path) -> None:
    reports.save(report())
    (kept,) = own_folder.rglob("*.json")
    kept.write_bytes(kept.read_bytes()[:100])
    assert reports.find(report().digest, report().settings, KERNEL) is None
    assert reports.of(report().digest) == []


def test_a_folder_that_cannot_be_written_costs_the_report_and_nothing_else(own_folder: Path) -> None:
    own_folder.parent.mkdir(parents=True)
    own_folder.write_text("no folder")
    reports.save(report())
    assert reports.of(report().digest) == []


def test_the_text_begins_with_the_verdict_and_says_what_where_and_how_to_mend_it() -> None:
    lines = reports.text(report()).splitlines()
    assert lines[0] == "fair passed with warnings on Linux 6.18.15."
    assert "doubtful: A program that wakes up waits 180 ms." in lines
    assert "  where    more programs than CPUs (slow-wakeups)" in lines
    assert "  remedy   Shorten the slice." in lines
    assert "  | … 20 more lines; --json has them all" in lines
    assert any(re.fullmatch(r"  wait after waking up, worst 1 % \(p99\) +9\.0 ms +4\.0 ms", line) for line in lines)


def test_proof_on_another_kernel_than_this_computers_is_never_better_than_a_warning() -> None:
    passed = replace(report(), verdict="pass")
    here = for_this_computer(passed, own=OTHER)
    assert here.verdict == "warn"
    assert here.findings[-1].rule == "not-this-kernel"
    assert "not on this computer's" in here.note
    assert for_this_computer(passed, own=KERNEL) == passed
    assert for_this_computer(replace(passed, verdict="fail"), own=OTHER).verdict == "fail"


def test_what_failed_before_the_kernel_is_found_by_its_object_or_else_its_source_until_it_passes() -> None:
    broken = replace(report(), digest="", kernel=None, verdict="fail", settings={"slice_us": 1})
    reports.save(broken, "the source")
    (kept,) = reports.of("the object", "the source")
    assert (kept.verdict, kept.settings) == ("fail", {})
    reports.save(replace(broken, digest="56" * 32), "the source")
    assert [each.digest for each in reports.of("56" * 32)] == ["56" * 32]
    reports.forget_failure("the source")
    assert reports.of("the object", "the source") == []
