"""The object stage: a scheduler and nothing else, of allowed parts, within bounds; and files that are no objects."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Policy, Stage, Tunable
from schedtui.backend.verifier.elf import Instruction, Map, ObjectFile, read_object
from schedtui.backend.verifier.object import check_object, unreadable
from schedtui.backend.verifier.rules import RULES

SOURCES = Path(__file__).parent / "sources"
SETTINGS = Path(__file__).parent.parent / "bpf_backend" / "sources" / "settings.bpf.c"
POLICIES = [each for each in load_library().policies.values() if each.source and each.origin == "built-in"]


@pytest.fixture(scope="module")
def forbidden() -> Stage:
    return check_object(read_object(compile_bpf(SOURCES / "forbidden.bpf.c")))


@pytest.fixture(scope="module")
def fair() -> ObjectFile:
    return read_object(fair_bytes())


def fair_bytes() -> bytes:
    return compile_bpf(Path(load_library().policy("fair").source))


def rules_of(file: ObjectFile, tunables: tuple[Tunable, ...] | None = None) -> list[tuple[str, str]]:
    """Severity and rule of each finding."""
    return [(each.severity, each.rule) for each in check_object(file, tunables).findings]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_that_ships_passes_without_a_word(policy: Policy) -> None:
    stage = check_object(read_object(compile_bpf(Path(policy.source))), policy.tunables)
    assert stage.findings == ()
    assert stage.verdict == "pass"


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("license-not-gpl", "its licence"),
        ("kconfig-extern", "LINUX_KERNEL_VERSION"),
        ("kernel-variable", "runqueues"),
        ("kfunc-not-allowed", "forbidden.bpf.c:57"),
        ("reads-kernel-memory", "forbidden.bpf.c:56"),
        ("reads-kernel-memory", "forbidden.bpf.c:55"),
        ("helper-not-allowed", "forbidden.bpf.c:50"),
        ("helper-not-allowed", "forbidden.bpf.c:61"),
        ("map-not-allowed", "calls"),
        ("pinned-map", "kept"),
        ("too-much-memory", "many"),
        ("too-much-memory", "its variables"),
        ("too-much-memory", "tasks"),
        ("foreign-program", "from_outside"),
        ("foreign-program", ".init_array"),
        ("timeout-too-long", "forbidden"),
    ],
)
def test_each_rule_is_found_where_it_is_broken(forbidden: Stage, rule: str, place: str) -> None:
    assert forbidden.verdict == "fail"
    assert (rule, place) in [(each.rule, each.place) for each in forbidden.findings]


def test_every_finding_is_of_a_rule_and_says_what_it_means_and_what_to_do(forbidden: Stage) -> None:
    for each in forbidden.findings:
        assert RULES[each.rule].stage == "object"
        assert each.meaning.endswith(".") and each.remedy


def test_a_map_that_is_large_but_not_too_large_is_a_warning(fair: ObjectFile) -> None:
    large = Map(name="large", type=2, key_bytes=4, value_bytes=8, max_entries=4 << 20)
    assert rules_of(replace(fair, maps=(large,))) == [("warning", "too-much-memory")]
    one_for_each_cpu = Map(name="counters", type=6, key_bytes=4, value_bytes=8, max_entries=1 << 20)
    assert rules_of(replace(fair, maps=(one_for_each_cpu,))) == [("error", "too-much-memory")]


def test_maps_that_are_small_by_themselves_can_be_too_much_together(fair: ObjectFile) -> None:
    maps = tuple(Map(name=f"m{n}", type=2, key_bytes=4, value_bytes=1 << 20, max_entries=15) for n in range(10))
    assert rules_of(replace(fair, maps=maps)) == [("error", "too-much-memory")]


@pytest.mark.parametrize(
    ("timeout_ms", "severity"), [(0, "warning"), (5000, None), (10000, None), (20000, "warning"), (30001, "error")]
)
def test_the_watchdog_may_not_wait_for_long(fair: ObjectFile, timeout_ms: int, severity: str | None) -> None:
    (table,) = fair.struct_ops
    file = replace(fair, struct_ops=(replace(table, values={**table.values, "timeout_ms": timeout_ms}),))
    assert rules_of(file) == ([(severity, "timeout-too-long")] if severity else [])


def test_an_object_without_a_scheduler_or_with_two_or_with_another_kind_is_refused(fair: ObjectFile) -> None:
    (table,) = fair.struct_ops
    network = replace(table, name="reno", type_name="tcp_congestion_ops")
    assert rules_of(replace(fair, struct_ops=())) == [("error", "foreign-program")]
    assert rules_of(replace(fair, struct_ops=(table, replace(table, name="two")))) == [("error", "foreign-program")]
    assert rules_of(replace(fair, struct_ops=(table, network))) == [("error", "foreign-program")]


def test_an_object_without_type_information_is_refused(fair: ObjectFile) -> None:
    assert rules_of(replace(fair, has_btf=False)) == [("error", "no-btf")]


@pytest.mark.parametrize(
    ("instruction", "rule"),
    [
        (Instruction(code=0x85, dst=0, src=2, off=0, imm=70000), "kfunc-not-allowed"),
        (Instruction(code=0x18, dst=1, src=3, off=0, imm=70000), "kernel-variable"),
        (Instruction(code=0x18, dst=1, src=1, off=0, imm=3), "map-not-allowed"),
        (Instruction(code=0x18, dst=1, src=2, off=0, imm=3), "map-not-allowed"),
    ],
)
def test_a_part_of_the_kernel_that_is_named_by_its_number_is_refused(
    fair: ObjectFile, instruction: Instruction, rule: str
) -> None:
    first, *others = fair.programs
    crafted = replace(first, instructions=(instruction, *first.instructions))
    assert rules_of(replace(fair, programs=(crafted, *others))) == [("error", rule)]


TUNABLES = (
    Tunable(name="slice_us", description="", cost="", default=5000, minimum=0, maximum=1 << 40),
    Tunable(name="offset", description="", cost="", default=-3, minimum=-10, maximum=10),
    Tunable(name="tiny", description="", cost="", default=7, minimum=0, maximum=255),
    Tunable(name="enabled", description="", cost="", default=True),
    Tunable(name="who", description="", cost="", default="nobody", max_length=15),
)


@pytest.fixture(scope="module")
def with_settings() -> ObjectFile:
    return read_object(compile_bpf(SETTINGS))


def tunable_findings(file: ObjectFile, tunables: tuple[Tunable, ...]) -> list[tuple[str, str]]:
    found = check_object(file, tunables).findings
    return [(each.severity, each.place) for each in found if each.rule == "tunable-out-of-bounds"]


def test_tunables_that_the_source_has_as_the_library_says_pass(with_settings: ObjectFile) -> None:
    assert tunable_findings(with_settings, TUNABLES) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("slice_us", {"default": 5001}),
        ("slice_us", {"maximum": 1 << 64}),
        ("slice_us", {"default": True}),
        ("slice_us", {"live": True}),
        ("offset", {"minimum": -(1 << 31) - 1}),
        ("tiny", {"maximum": 256}),
        ("tiny", {"minimum": -1, "maximum": 200}),
        ("enabled", {"default": False}),
        ("who", {"max_length": 16}),
        ("who", {"default": "somebody"}),
        ("who", {"default": 3, "minimum": 0, "maximum": 5}),
        ("tiny", {"name": "no_such_name"}),
    ],
)
def test_a_tunable_that_is_not_what_the_library_says_is_named(
    with_settings: ObjectFile, name: str, change: dict[str, object]
) -> None:
    wrong = tuple(replace(each, **change) if each.name == name else each for each in TUNABLES)
    found = tunable_findings(with_settings, wrong)
    assert ("error", change.get("name", name)) in found


def test_a_tunable_that_the_library_does_not_list_is_a_warning(with_settings: ObjectFile) -> None:
    assert tunable_findings(with_settings, TUNABLES[1:]) == [("warning", "slice_us")]
    assert tunable_findings(with_settings, TUNABLES[:0]) and not tunable_findings_without(with_settings)


def tunable_findings_without(file: ObjectFile) -> list[str]:
    return [each.place for each in check_object(file).findings if each.rule == "tunable-out-of-bounds"]


def patched(offset: int, new: bytes) -> bytes:
    obj = fair_bytes()
    return obj[:offset] + new + obj[offset + len(new) :]


@pytest.mark.parametrize(
    ("damaged", "rule"),
    [
        (lambda: b"", "not-an-object"),
        (lambda: b"int main(void) { return 0; }\n", "not-an-object"),
        (lambda: fair_bytes()[:10], "not-an-object"),
        (lambda: fair_bytes()[:5000], "not-an-object"),
        (lambda: fair_bytes()[:-1], "not-an-object"),
        (lambda: patched(16, struct.pack("<H", 2)), "not-an-object"),
        (lambda: patched(18, struct.pack("<H", 62)), "wrong-architecture"),
        (lambda: patched(5, b"\2"), "wrong-architecture"),
        (lambda: patched(4, b"\1"), "wrong-architecture"),
        (lambda: Path("/bin/true").read_bytes(), "wrong-architecture"),
    ],
    ids=["empty", "text", "ten bytes", "cut", "last byte", "linked", "x86", "big-endian", "32 bits", "a program"],
)
def test_what_is_no_object_is_said_plainly(damaged, rule: str) -> None:  # type: ignore[no-untyped-def]
    data = damaged()
    with pytest.raises(BadFile) as caught:
        read_object(data)
    found = unreadable(data, caught.value)
    assert found.rule == rule
    assert found.meaning and found.remedy
