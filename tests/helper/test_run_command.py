"""Commands that print without end are ended all the same."""

from __future__ import annotations

from schedtui.backend.helper.commands import run_command


def test_a_command_that_never_pauses_printing_is_killed_at_its_time_limit() -> None:
    done = run_command(["timeout", "30", "yes"], 0.3)
    assert done.exit_code < 0 and done.truncated
    assert len(done.output) == 1 << 20


def test_what_a_command_printed_last_is_kept() -> None:
    done = run_command(["sh", "-c", "printf '%60000s' end"], 20)
    assert (done.exit_code, len(done.output), done.truncated) == (0, 60000, False)


def test_a_child_that_left_the_group_and_goes_on_printing_does_not_keep_its_command_going() -> None:
    done = run_command(["sh", "-c", "setsid timeout 5 yes & exit 3"], 20)
    assert done.exit_code == 3
    assert done.seconds < 5
