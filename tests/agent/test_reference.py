"""What an author of policies is told: the header as it is, short, and more of it by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schedtui.agent import learning, reference
from schedtui.backend.errors import UnknownName
from schedtui.backend.library.catalogue import load_library
from schedtui.paths import shipped

HEADER = (shipped("bpf") / "include/schedtui.bpf.h").read_text()


def test_the_overview_is_short_and_names_what_library_policies_call() -> None:
    told = reference.overview()
    assert learning.tokens_of(told) < 2000
    called: set[str] = set()
    for policy in load_library().loadable().values():
        source = Path(policy.source).read_text()
        called |= set(re.findall(r"\b(scx_bpf_\w+|vclock_\w+|bpf_cpumask_\w+)\(", source))
    missing = {each for each in called if each not in told and not each.startswith("bpf_cpumask_")}
    assert not missing
    assert "bpf_cpumask_*" in told


def test_it_tells_of_nothing_that_the_header_lacks() -> None:
    names = re.findall(r"\b(?:scx_bpf|bpf)_\w+(?=\()", reference.overview())
    assert len(names) > 10
    assert all(each in HEADER for each in names)


@pytest.mark.parametrize("topic", reference.topics())
def test_each_topic_that_is_offered_tells_something_of_bounded_length(topic: str) -> None:
    assert 100 < len(reference.about(topic)) < 6000


def test_a_name_is_told_with_its_whole_comment() -> None:
    told = reference.about("slice_for_queue")
    assert "u64 min_ns" in told and "watchdog knows no excuse" in told


def test_what_there_is_not_is_answered_with_what_there_is() -> None:
    with pytest.raises(UnknownName, match="no “open_file”") as refused:
        reference.about("open_file")
    assert "queues" in refused.value.remedy


def test_the_rules_fit_into_a_prompt() -> None:
    assert "lost-task" in reference.rules()
    assert learning.tokens_of(reference.rules()) < 500
