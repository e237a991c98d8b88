"""Who started the scheduler: as cgroups, parents and descriptors of processes say."""

from __future__ import annotations

import subprocess
from pathlib import Path

from schedtui.backend.model import Owner, Scheduler
from schedtui.backend.probes.owner import OwnerProbe, find_owner
from tests.conftest import until
from tests.probes.trees import write


def process(
    root: Path,
    pid: int,
    name: str,
    *,
    parent: int = 1,
    cgroup: str = "/",
    command: str = "",
    holds: bool = False,
    uid: int = 0,
) -> None:
    """One process; ``holds``: with the link of a struct_ops map among its descriptors."""
    files = {
        "comm": f"{name}\n",
        "stat": f"{pid} ({name}) S {parent} 1 1\n",
        "cgroup": f"1:name=systemd:/\n0::{cgroup}\n",
        "cmdline": (command or name).replace(" ", "\0") + "\0",
        "loginuid": "4294967295",
        "status": f"Name:\t{name}\nUid:\t{uid}\t0\t0\t0\n",
    }
    write(root, {f"proc/{pid}/{file}": text for file, text in files.items()})
    if holds:
        (root / f"proc/{pid}/fd").mkdir()
        (root / f"proc/{pid}/fd/7").symlink_to("anon_inode:bpf_link")
        write(root, {f"proc/{pid}/fdinfo/7": "pos:\t0\nlink_type:\tstruct_ops\nlink_id:\t5\nmap_id:\t9\n"})


def test_scx_service_is_named_by_its_cgroup(tmp_path: Path) -> None:
    process(tmp_path, 40, "scx_bpfland", cgroup="/system.slice/scx.service", command="/usr/bin/scx_bpfland -m all")
    assert find_owner("bpfland_1.0.19", tmp_path) == Owner(
        kind="scx.service", words="scx.service", pid=40, command="scx_bpfland -m all"
    )


def test_what_scx_loader_started_is_its_own_also_without_systemd(tmp_path: Path) -> None:
    process(tmp_path, 30, "scx_loader")
    process(tmp_path, 41, "scx_lavd", parent=30)
    assert (found := find_owner("lavd", tmp_path)).kind == "scx_loader"
    assert found.pid == 41


def test_another_service_is_named_by_its_unit(tmp_path: Path) -> None:
    process(tmp_path, 40, "scx_lavd", cgroup="/system.slice/system-games.slice/tune@pc.service/sub")
    assert (found := find_owner("lavd", tmp_path)).words == "tune@pc.service"
    assert found.kind == "service"


def test_a_person_is_named_by_the_session_though_sudo_made_it_root(tmp_path: Path) -> None:
    session = "/user.slice/user-65534.slice/session-2.scope"
    process(tmp_path, 20, "bash", cgroup=session)
    process(tmp_path, 21, "sudo", parent=20, cgroup=session)
    process(tmp_path, 22, "scx_rusty", parent=21, cgroup=session, command="scx_rusty --slice-us 500")
    found = find_owner("rusty", tmp_path)
    assert (found.kind, found.words, found.user) == ("person", "nobody, in a shell", "nobody")
    assert found.command == "scx_rusty --slice-us 500"


def test_without_a_session_the_first_above_who_is_not_root_is_the_person(tmp_path: Path) -> None:
    process(tmp_path, 20, "zsh", uid=65534)
    process(tmp_path, 21, "sudo", parent=20)
    process(tmp_path, 22, "scx_rusty", parent=21)
    assert find_owner("rusty", tmp_path).words == "nobody, in a shell"


def test_what_a_users_own_service_manager_started_is_that_users(tmp_path: Path) -> None:
    process(tmp_path, 22, "scx_rusty", cgroup="/user.slice/user-65534.slice/user@65534.service/app.slice/tune.service")
    assert find_owner("rusty", tmp_path).words == "nobody"


def test_a_program_of_any_name_is_found_by_the_link_that_it_holds(tmp_path: Path) -> None:
    process(tmp_path, 40, "my_scheduler", cgroup="/system.slice/mine.service", holds=True)
    process(tmp_path, 50, "editor", cgroup="/user.slice/user-65534.slice/session-2.scope")
    assert find_owner("mine", tmp_path).words == "mine.service"


def test_of_two_programs_the_one_that_holds_the_link_is_the_owner(tmp_path: Path) -> None:
    process(tmp_path, 40, "scx_lavd", cgroup="/system.slice/scx.service")
    process(tmp_path, 41, "scx_rusty", cgroup="/system.slice/other.service", holds=True)
    assert find_owner("lavd", tmp_path).words == "other.service"


def test_of_two_programs_whose_links_cannot_be_seen_the_name_decides(tmp_path: Path) -> None:
    process(tmp_path, 40, "scx_lavd", cgroup="/system.slice/other.service")
    process(tmp_path, 41, "scx_rusty", cgroup="/system.slice/scx.service")
    assert find_owner("rusty_1.0", tmp_path).words == "scx.service"


def test_schedtui_knows_its_own_helper_and_what_it_started(tmp_path: Path) -> None:
    process(tmp_path, 60, "python3", command="/usr/bin/python3 -I -m schedtui helper")
    process(tmp_path, 61, "scx_flash", parent=60)
    assert find_owner("flash", tmp_path).kind == "schedtui"
    process(tmp_path, 61, "something")
    assert find_owner("fair", tmp_path).words == "schedtui"
    process(tmp_path, 60, "python3", command="/usr/bin/python3 -I -m schedtui helper", uid=1000)
    assert find_owner("fair", tmp_path).words == "another program"


def test_what_nobody_is_known_to_have_started_is_named_by_its_program(tmp_path: Path) -> None:
    process(tmp_path, 40, "scx_lavd", cgroup="/")
    found = find_owner("lavd", tmp_path)
    assert (found.kind, found.words) == ("unknown", "scx_lavd")
    assert find_owner("lavd", tmp_path / "empty") == Owner(kind="unknown", words="another program")


def test_the_owner_is_looked_up_once_for_each_scheduler(tmp_path: Path) -> None:
    lavd = Scheduler(sched_ext="enabled", name="lavd", owner="another program", enable_seq=3)
    probe = OwnerProbe(tmp_path)
    assert probe.owner(lavd).words == "another program"
    process(tmp_path, 40, "scx_lavd", cgroup="/system.slice/scx.service")
    assert probe.owner(lavd).words == "scx.service"
    write(tmp_path, {"proc/40/cgroup": "0::/system.slice/other.service\n"})
    assert probe.owner(lavd).words == "scx.service"
    again = Scheduler(sched_ext="enabled", name="lavd", owner="another program", enable_seq=4)
    assert probe.owner(again).words == "other.service"


def test_real_processes_are_read_and_one_that_ends_meanwhile_is_no_fault(tmp_path: Path) -> None:
    program = tmp_path / "scx_sleeper"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as running:
        try:
            assert until(lambda: find_owner("sleeper_1").pid == running.pid)
        finally:
            running.kill()
    assert find_owner("sleeper_1").pid != running.pid
