"""Recordings: what is written is what is read, and what is not a recording is refused with a sentence."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedtui.backend.errors import BadFile, SchedtuiError
from schedtui.backend.model import CpuSample, Event, Frame, Latency, MachineInfo, Pressure, Scheduler, TaskWait
from schedtui.backend.recording import MAX_BYTES, Recorder, read_recording

INFO = MachineInfo(
    kind="lab",
    name="lab",
    kernel="6.18.15",
    sched_ext=True,
    default_scheduler="EEVDF",
    can_load=True,
    note="lab, QEMU TCG",
)


def a_frame(number: int, **changes: object) -> Frame:
    frame = Frame(
        sequence=number,
        time=1_795_000_000.0 + number,
        interval_s=1.0,
        cpus=(CpuSample(cpu=0, used_percent=12.5), CpuSample(cpu=1, used_percent=0.0, frequency_mhz=3000)),
        scheduler=Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel", events={"SCX_EV_A": number}),
        latency=Latency(source="wakeup-probe", histogram=(0, 1, 2), count=3, p99_us=0.002),
        pressure={"cpu": Pressure(some_percent=1.5)},
        waiters=(TaskWait(pid=7, name="game — é", wait_ms_per_s=3.25),),
        events=(Event(time=1.0, kind="info", text="line one\nline two"),),
        missing={"frequency": "no cpufreq"},
    )
    return msgspec.structs.replace(frame, **changes)


def record(path: Path, count: int = 5) -> list[Frame]:
    frames = [a_frame(number) for number in range(count)]
    with Recorder(path, INFO) as recorder:
        for frame in frames:
            recorder.add(frame)
    return frames


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_was_recorded_is_read_again(tmp_path: Path, name: str) -> None:
    frames = record(tmp_path / name)
    recording = read_recording(tmp_path / name)
    assert [recording.frame(number) for number in range(len(recording.lines))] == frames
    assert recording.header.info == INFO
    assert recording.problem == ""


def test_a_gz_recording_is_a_gzip_file_of_the_same_lines(tmp_path: Path) -> None:
    record(tmp_path / "a.gz")
    assert len(gzip.decompress((tmp_path / "a.gz").read_bytes()).splitlines()) == 6


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_every_line_is_readable_as_soon_as_it_is_written(tmp_path: Path, name: str) -> None:
    recorder = Recorder(tmp_path / name, INFO)
    for count in (1, 2):
        recorder.add(a_frame(count))
        assert len(read_recording(tmp_path / name).lines) == count
    recorder.close()
    recorder.close()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_recorder_that_is_killed_leaves_what_it_wrote(tmp_path: Path, name: str) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.recording.test_recording import *\n"
        "recorder = Recorder(Path(sys.argv[1]), INFO); recorder.add(a_frame(0)); print('written', flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / name], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(read_recording(tmp_path / name).lines) == 1


@given(cut=st.integers(1, 600))
def test_wherever_it_is_cut_off_the_whole_lines_remain(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    record(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    recording = read_recording(path)
    assert [msgspec.json.decode(line)["sequence"] for line in recording.lines] == list(range(len(recording.lines)))
    assert len(recording.lines) == whole[:-cut].count(b"\n") - 1
    assert bool(recording.problem) == (not whole[:-cut].endswith(b"\n"))


@pytest.mark.slow
@given(cut=st.integers(1, 400))
def test_a_compressed_one_that_is_cut_off_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.gz"
    frames = record(path, 40)
    path.write_bytes(path.read_bytes()[:-cut])
    recording = read_recording(path)
    assert [recording.frame(number) for number in range(len(recording.lines))] == frames[: len(recording.lines)]
    assert recording.lines


def test_a_corrupt_line_is_named_by_its_number(tmp_path: Path) -> None:
    record(tmp_path / "a")
    lines = lines_of(tmp_path / "a")
    lines[3] = lines[3][:50] + b"\xff\x00" + lines[3][52:]
    (tmp_path / "a").write_bytes(b"".join(lines))
    with pytest.raises(BadFile, match="line 4"):
        read_recording(tmp_path / "a")


@given(st.binary(max_size=300))
def test_any_other_file_is_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(content)
    with pytest.raises(BadFile):
        read_recording(path)


@given(at=st.integers(0, 5000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.gz"
    record(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data)
    try:
        recording = read_recording(path)
    except BadFile:
        return
    assert recording.frame(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"time": 1e300}, "absurd number"),
        ({"time": -5.0}, "no date"),
        ({"interval_s": 0.0}, "interval"),
        ({"cpus": (CpuSample(cpu=0, used_percent=1e9),)}, "CPU 0"),
        ({"cpus": (CpuSample(cpu=-1, used_percent=1.0),)}, "CPU -1"),
        ({"cpus": (CpuSample(cpu=0, used_percent=1.0, frequency_mhz=10**30),)}, "absurd number"),
        ({"latency": Latency(source="run-delay", histogram=(-1,), count=1)}, "histogram"),
        ({"latency": Latency(source="run-delay", histogram=(1,) * 200, count=1)}, "histogram"),
        ({"waiters": (TaskWait(pid=1, name="\x1b[2J", wait_ms_per_s=1.0),)}, "control characters"),
        ({"missing": {"\x9b2J": "x"}}, "control characters"),
    ],
)
def test_absurd_values_are_refused_and_said(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    path = tmp_path / "a"
    with Recorder(path, INFO) as recorder:
        recorder.add(a_frame(0))
    bad = msgspec.to_builtins(a_frame(1, **changes))
    with path.open("ab") as file:
        file.write(msgspec.json.encode(bad) if 10**30 not in bad["cpus"][0].values() else _huge())
        file.write(b"\n")
    with pytest.raises(BadFile, match=said) as refusal:
        read_recording(path)
    assert "line 3" in refusal.value.message


def _huge() -> bytes:
    return msgspec.json.encode(a_frame(1)).replace(b'"frequency_mhz":3000', b'"frequency_mhz":1' + b"0" * 30)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"version":1', b'"version":9', "version 9"),
        (b"schedtui recording", b"another format", "not a recording"),
        (b'"format"', b'"form"', "not a recording"),
    ],
)
def test_another_format_or_version_is_refused(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    record(tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes().replace(old, new, 1))
    with pytest.raises(BadFile, match=said):
        read_recording(tmp_path / "a")


def test_a_recording_without_frames_is_refused(tmp_path: Path) -> None:
    Recorder(tmp_path / "a", INFO).close()
    with pytest.raises(BadFile, match="no frames"):
        read_recording(tmp_path / "a")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        read_recording(tmp_path / "nowhere")
    with pytest.raises(BadFile, match="directory"):
        read_recording(tmp_path)


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    line = b" " * 1023 + b"\n"
    with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as file:
        for _ in range(MAX_BYTES // len(line) + 1):
            file.write(line)
    with pytest.raises(BadFile, match="more than 64 MiB"):
        read_recording(tmp_path / "bomb.gz")
    (tmp_path / "line").write_bytes(b"x" * (3 << 20))
    with pytest.raises(BadFile, match="too long"):
        read_recording(tmp_path / "line")


def test_a_full_disk_is_said_and_does_not_break_what_was_written() -> None:
    recorder = None
    with pytest.raises(SchedtuiError, match="No space left"):
        recorder = Recorder(Path("/dev/full"), INFO)
    assert recorder is None


@pytest.mark.slow
def test_a_line_that_did_not_fit_is_cut_off_again(tmp_path: Path) -> None:
    """A limit on the file's size stands for the disk: the kernel takes part of the line, then no more."""
    code = (
        "import resource, sys; from pathlib import Path; from tests.recording.test_recording import *\n"
        "recorder = Recorder(Path(sys.argv[1]), INFO); recorder.add(a_frame(0))\n"
        "limit = Path(sys.argv[1]).stat().st_size + 100\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try: recorder.add(a_frame(1))\n"
        "except SchedtuiError as error: print(error.message, '|', error.remedy)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code, tmp_path / "a"], text=True)
    assert "File too large" in said
    assert "1 frames" in said
    assert read_recording(tmp_path / "a").problem == ""
    assert len(read_recording(tmp_path / "a").lines) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SchedtuiError, match="cannot be written"):
        Recorder(tmp_path / "no" / "such" / "folder", INFO)


def test_recording_to_a_file_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    record(tmp_path / "a")
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
