"""A lab that carries this computer's compiler builds a project, anew each time, and in nothing but a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import MissingTool
from schedtui.backend.lab import LabMachine
from schedtui.backend.project import carry_project
from tests.conftest import DEFAULT, kernel_image, quiet

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]
MAKEFILE = """\
all: main
	./main
main: main.o
	$(CC) -o $@ $^ -lm -lpthread
"""
SOURCE = """\
#include <math.h>
#include <pthread.h>
#include <stdio.h>
static void *work(void *unused) { return unused; }
int main(int count, char **words)
{
	pthread_t thread;
	(void)words;
	pthread_create(&thread, NULL, work, NULL);
	pthread_join(thread, NULL);
	printf("root %.3f\\n", sqrt(count + 1.0));
	return 0;
}
"""


@pytest.fixture(scope="module")
def guest() -> Iterator[LabMachine]:
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2, compiler=True)
    try:
        machine.open(quiet)
        yield machine
    finally:
        machine.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "main.c").write_text(SOURCE)
    return tmp_path


def test_a_c_program_is_built_and_run_from_nothing_each_time(guest: LabMachine, folder: Path) -> None:
    carry_project(guest, folder, ("make", "-j4"))
    for _ in range(2):
        done = guest.run(["make", "-j4"], 240)
        assert done.exit_code == 0, done.output
        assert "main.c" in done.output
        assert "root 1.414" in done.output
        assert done.command == ("make", "-j4")
    assert sorted(each.name for each in folder.iterdir()) == ["Makefile", "main.c"]


def test_a_command_that_the_guest_lacks_is_named(guest: LabMachine, folder: Path) -> None:
    with pytest.raises(MissingTool, match="“cargo” is not in the lab"):
        carry_project(guest, folder, ("cargo", "build"))


def test_a_program_of_the_project_itself_can_be_the_command(guest: LabMachine, folder: Path) -> None:
    script = folder / "build.sh"
    script.write_text("#!/bin/sh\ncat Makefile\n")
    script.chmod(0o755)
    carry_project(guest, folder, ("./build.sh",))
    assert guest.run(["./build.sh"], 60).output == MAKEFILE


def test_the_guest_has_no_network_and_nothing_of_this_computer_but_copies(guest: LabMachine) -> None:
    assert guest.run(["ls", "/sys/class/net"], 30).output.split() == ["lo"]
    kinds = {line.split()[2] for line in guest.run(["cat", "/proc/mounts"], 30).output.splitlines()}
    assert not kinds & {"9p", "virtiofs", "nfs", "fuse", "ext4"}
