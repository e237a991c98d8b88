"""Kernel images are recognised, kept and chosen; what is no kernel is refused with what it looks like.

Images here are small files with a real header. That real kernels are fetched and boot, the lab's tests show.
"""

from __future__ import annotations

import ctypes
import gzip
import lzma
import os
import platform
import struct
from pathlib import Path

import pytest

from schedtui.backend.errors import KernelUnsuitable, UnknownName
from schedtui.backend.microvm.kernels import (
    NEEDED_BUILT_IN,
    cached_kernels,
    fetch_kernel,
    find_kernel,
    inspect_image,
    listed_kernels,
)
from tests.conftest import DEFAULT, NEWEST, OLDEST, kernel_image, quiet

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="these images are of x86")

COMPLETE = "".join(f"CONFIG_{each}=y\n" for each in NEEDED_BUILT_IN)


def write_image(path: Path, release: str = "6.99.1-test", payload: bytes = b"") -> Path:
    """A bzImage without code: header as Documentation/arch/x86/boot.rst has it, and a payload."""
    image = bytearray(1024)
    image[0x1F1] = 1
    struct.pack_into("<I", image, 0x1F4, (len(payload) + 15) // 16)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x100)
    struct.pack_into("<II", image, 0x248, 0, len(payload))
    version = f"{release} (somebody@somewhere) #1 SMP\0".encode()
    image[0x300 : 0x300 + len(version)] = version
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(image) + payload.ljust((len(payload) + 15) // 16 * 16, b"\0"))
    return path


def zstd(data: bytes) -> bytes:
    """Packed as distributions pack their kernels: by libzstd, for Python 3.11 has none."""
    library = ctypes.CDLL("libzstd.so.1")
    packed = ctypes.create_string_buffer(len(data) + 4096)
    size = library.ZSTD_compress(packed, len(packed), data, len(data), 3)
    return packed.raw[:size]


def test_the_release_is_read_from_the_image_itself(tmp_path: Path) -> None:
    kernel = inspect_image(write_image(tmp_path / "bzImage", "6.18.15+deb13-cloud-amd64"))
    assert kernel.release == "6.18.15+deb13-cloud-amd64"
    assert kernel.image == tmp_path / "bzImage"


def test_an_image_that_does_not_tell_about_sched_ext_is_left_to_the_boot(tmp_path: Path) -> None:
    assert inspect_image(write_image(tmp_path / "bzImage", payload=b"packed in an unknown way"))


@pytest.mark.parametrize("name", ["config-6.99.1-test", "config"])
def test_the_configuration_beside_the_image_decides(tmp_path: Path, name: str) -> None:
    image = write_image(tmp_path / "vmlinuz-6.99.1-test")
    (tmp_path / name).write_text(COMPLETE)
    assert inspect_image(image).release == "6.99.1-test"
    (tmp_path / name).write_text(COMPLETE.replace("CONFIG_SCHED_CLASS_EXT=y", "# CONFIG_SCHED_CLASS_EXT is not set"))
    with pytest.raises(KernelUnsuitable, match=r"6\.99\.1-test .* without CONFIG_SCHED_CLASS_EXT"):
        inspect_image(image)


def test_a_kernel_whose_virtio_is_a_module_will_do(tmp_path: Path) -> None:
    image = write_image(tmp_path / "vmlinuz-6.99.1-test")
    (tmp_path / "config").write_text(f"{COMPLETE}CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=m\n")
    assert inspect_image(image).release == "6.99.1-test"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd])
def test_without_a_configuration_the_packed_kernels_type_names_decide(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    filler = os.urandom(1 << 16)
    with_it = write_image(tmp_path / "with", payload=pack(b"\x7fELF" + filler + b"\0sched_ext_ops\0" + filler))
    without = write_image(tmp_path / "without", payload=pack(b"\x7fELF" + filler))
    assert inspect_image(with_it)
    with pytest.raises(KernelUnsuitable, match="CONFIG_SCHED_CLASS_EXT"):
        inspect_image(without)


def test_a_configuration_inside_the_packed_kernel_decides(tmp_path: Path) -> None:
    def image(config: str) -> Path:
        kernel = b"\x7fELF sched_ext_ops IKCFG_ST" + gzip.compress(config.encode()) + b"IKCFG_ED"
        return write_image(tmp_path / "bzImage", payload=gzip.compress(kernel))

    assert inspect_image(image(COMPLETE))
    with pytest.raises(KernelUnsuitable, match="CONFIG_DEBUG_INFO_BTF"):
        inspect_image(image(COMPLETE.replace("CONFIG_DEBUG_INFO_BTF=y", "")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello, world\n", "a text file"),
        (b"\x7fELF\x02\x01\x01" + bytes(2000), "an ELF file"),
        (b"!<arch>\ndebian-binary", "a Debian package"),
        (b"070701" + b"0" * 200, "an initramfs"),
        (gzip.compress(b"x" * 100), "a gzip file"),
        (bytes(4096), "a text file"),
        (b"\xff" * 4096, "data of another kind"),
    ],
    ids=["nothing", "text", "ELF", "package", "initramfs", "gzip", "zeros", "ones"],  # gzip's bytes hold the time
)
def test_what_is_no_kernel_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(KernelUnsuitable, match=words) as caught:
        inspect_image(path)
    assert "--kernel" in caught.value.remedy


def test_a_folder_and_a_missing_file_are_no_kernels(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "no file"), (tmp_path / "gone", "No such file"), (Path("/dev/zero"), "no file")):
        with pytest.raises(KernelUnsuitable, match=words):
            inspect_image(path)


def test_an_image_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "bzImage", payload=os.urandom(1 << 16))
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(KernelUnsuitable, match="cut short"):
        inspect_image(path)


def test_a_kernel_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(bytes(0x38) + b"ARM\x64" + bytes(100))
    with pytest.raises(KernelUnsuitable, match="for ARM"):
        inspect_image(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached kernels, of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "schedtui" / "kernels"


def test_the_long_term_series_is_taken_first_and_then_the_newest(cache: Path) -> None:
    for release in ("6.9.1-cloud-amd64", "7.10.2-cloud-amd64", "7.9.10-cloud-amd64", "6.18.2-cloud-amd64"):
        write_image(cache / release / "vmlinuz", release)
    assert [each.release.partition("-")[0] for each in cached_kernels()] == ["7.10.2", "7.9.10", "6.18.2", "6.9.1"]
    assert [each.release.partition("-")[0] for each in listed_kernels()][:2] == ["6.18.2", "7.10.2"]
    assert find_kernel(None, quiet).release == "6.18.2-cloud-amd64"
    assert fetch_kernel("7", quiet).release == "7.10.2-cloud-amd64"


def test_a_half_fetched_kernel_does_not_count(cache: Path) -> None:
    write_image(cache / ".fetching-abc" / "kernel" / "vmlinuz")
    (cache / "6.18.2-cloud-amd64").mkdir()
    assert cached_kernels() == []


def test_the_image_given_goes_over_everything(cache: Path, tmp_path: Path) -> None:
    write_image(cache / "6.18.2-cloud-amd64" / "vmlinuz")
    given = write_image(tmp_path / "mine", "6.99.9-mine")
    assert find_kernel(given, quiet).release == "6.99.9-mine"


def test_what_is_no_series_is_refused_before_anything_is_fetched(cache: Path) -> None:
    with pytest.raises(UnknownName, match="not a kernel series"):
        fetch_kernel("newest", quiet)
    assert not cache.exists()


@pytest.mark.lab
@pytest.mark.parametrize("series", [OLDEST, DEFAULT, NEWEST])
def test_a_fetched_kernel_is_of_its_series_and_has_what_the_lab_needs(series: str) -> None:
    kernel = inspect_image(kernel_image(series))
    assert kernel.release.startswith(f"{series}.")
