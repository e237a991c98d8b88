"""Every policy of the corpus is accepted by the kernel, misbehaves as said, and is caught by the stage that can know.

``make test`` judges all that the static stages can, and proves a handful on a kernel; ``make matrix`` judges what only
a kernel shows, and ``make soak`` does all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Report, Stage
from schedtui.backend.verifier import source
from schedtui.backend.verifier.bytecode import check_bytecode
from schedtui.backend.verifier.elf import read_object
from schedtui.backend.verifier.object import check_object
from schedtui.backend.verifier.rules import RULES
from schedtui.backend.verifier.verify import verify
from tests.conftest import DEFAULT, kernel_image, quiet
from tests.corpus.misbehaviour import FOLDER, BadPolicy, corpus, misbehaves, observe

CORPUS = {each.name: each for each in corpus()}
STATIC = [name for name, each in CORPUS.items() if each.stage in ("object", "bytecode")]
SOURCES = [name for name, each in CORPUS.items() if each.stage == "source"]
KERNEL = [name for name, each in CORPUS.items() if each.stage == "kernel"]
PROVEN_IN_EVERY_TEST = ["forgets-forked", "leaks-kernel-memory"]
JUDGED_IN_EVERY_TEST = ["waits-for-a-full-batch"]
OF_DEGREE = {"late", "held-up", "idle", "unfair", "waits", "memory", "forks-fail", "refused"}
"""Claims that a number decides, so that it must be shown that it is not always so."""
NOT_ACCEPTED_BY_A_KERNEL = {
    "does-not-compile",
    "too-large",
    "no-sandbox",
    "false-lines",
    "not-an-object",
    "wrong-architecture",
    "no-btf",
    "license-not-gpl",
    "tunable-out-of-bounds",
    "too-hard-to-follow",
    "guest-died",
    "hotplug-hangs",
    "kernel-helped",
    "not-this-kernel",
    "restarts-at-hotplug",
}
"""Rules about what no kernel would load, or that is nothing to load, and notes: their own tests break them."""


def caught(policy: BadPolicy, stage: Stage) -> bool:
    """Whether a stage has one of the findings that the table expects, and a verdict that says so."""
    found = {each.rule for each in stage.findings if each.severity != "note"}
    return stage.name == policy.stage and stage.verdict != "pass" and bool(found & set(policy.rules))


def test_every_source_of_the_corpus_has_a_row_and_a_name_of_its_own() -> None:
    assert len(CORPUS) == len(corpus()) >= 20
    assert {each.source for each in CORPUS.values()} == set(FOLDER.rglob("*.bpf.c"))


@pytest.mark.parametrize("name", SOURCES)
def test_a_bad_source_is_refused_before_it_is_an_object(name: str) -> None:
    stage, _ = source.check_source(CORPUS[name].source)
    assert stage.verdict == "fail"
    assert caught(CORPUS[name], stage), stage.findings


@pytest.mark.parametrize("name", STATIC)
def test_what_an_object_shows_is_caught_without_a_kernel(name: str) -> None:
    policy = CORPUS[name]
    file = read_object(compile_bpf(policy.source))
    judged = check_object(file, None) if policy.stage == "object" else check_bytecode(file)
    assert caught(policy, judged), judged.findings


@pytest.mark.lab
@pytest.mark.parametrize("name", PROVEN_IN_EVERY_TEST)
def test_a_bad_policy_is_accepted_by_the_kernel_and_misbehaves(name: str) -> None:
    is_as_bad_as_said(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in CORPUS if name not in PROVEN_IN_EVERY_TEST])
def test_every_bad_policy_is_accepted_by_the_kernel_and_misbehaves(name: str) -> None:
    is_as_bad_as_said(name)


def is_as_bad_as_said(name: str) -> None:
    """Raises LoadRejected when the kernel does not accept it."""
    seen = observe(CORPUS[name])
    assert misbehaves(CORPUS[name], seen), seen


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name, each in CORPUS.items() if each.shows in OF_DEGREE])
def test_a_sound_policy_does_not_show_what_a_bad_one_does_under_the_same_load(name: str) -> None:
    seen = observe(CORPUS[name], Path(load_library().policy("fair").source))
    assert seen
    assert seen.state == "enabled"
    assert not misbehaves(CORPUS[name], seen), seen


@pytest.mark.lab
@pytest.mark.parametrize("name", JUDGED_IN_EVERY_TEST)
def test_what_only_a_kernel_can_know_fails_the_whole_verification(name: str) -> None:
    is_refused(name)


@pytest.mark.soak
@pytest.mark.matrix
@pytest.mark.parametrize("name", [name for name in KERNEL if name not in JUDGED_IN_EVERY_TEST])
def test_what_a_kernel_shows_fails_the_whole_verification(name: str) -> None:
    is_refused(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in CORPUS if name not in KERNEL])
def test_every_bad_policy_fails_the_whole_verification(name: str) -> None:
    is_refused(name)


def is_refused(name: str) -> None:
    """The stage of its row says what is wrong, and it or a later one fails the policy, so that no canary starts."""
    report = verdict(CORPUS[name])
    assert report.verdict == "fail"
    assert any(caught(CORPUS[name], stage) for stage in report.stages), report.findings


def verdict(policy: BadPolicy) -> Report:
    """What the whole verification says on the default kernel."""
    (report,) = verify(policy.source, kernels=(kernel_image(DEFAULT),), progress=quiet, again=True)
    return report


def test_every_rule_that_a_loadable_policy_can_break_is_broken_by_one() -> None:
    covered = {rule for each in CORPUS.values() for rule in each.rules}
    assert set(RULES) - NOT_ACCEPTED_BY_A_KERNEL <= covered
