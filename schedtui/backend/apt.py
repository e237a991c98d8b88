"""apt with a state of its own, so that packages of other suites can be had without touching the system's.

The mirror, and the key that its index is signed with, are read from the machine's own apt sources. What is
fetched, and what for, is left to others.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct, field

from schedtui.backend.errors import LabFailed, MissingTool

SOURCES = Path("/etc/apt")
_OPTIONS_KEPT = ("Signed-By", "Trusted", "Check-Valid-Until", "Check-Date")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>[^#]*)")
_SIMPLE_SUITES = {"stable", "oldstable", "testing", "unstable", "sid"}


class Source(Struct, frozen=True):
    """One archive that the machine's sources name, for binary packages."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    """The fields that say whom to trust, as they stand there: Signed-By and the like."""


class Distribution(Struct, frozen=True):
    """What /etc/os-release says."""

    id: str
    codename: str
    like: tuple[str, ...] = ()

    @property
    def is_debian(self) -> bool:
        """Whether it draws its packages from Debian's own archive (Ubuntu and its kin do not)."""
        family = (self.id, *self.like)
        return "debian" in family and "ubuntu" not in family


def distribution(os_release: Path = Path("/etc/os-release")) -> Distribution:
    """Which distribution this is; empty fields when it does not say."""
    try:
        lines = os_release.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {key: value.strip().strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    like = tuple(fields.get("ID_LIKE", "").split())
    return Distribution(fields.get("ID", ""), fields.get("VERSION_CODENAME", ""), like)


def debian_architecture() -> str:
    """Debian's name for this machine's architecture."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def machine_sources(folder: Path = SOURCES) -> list[Source]:
    """Every enabled archive of ``sources.list`` and ``sources.list.d`` (both formats), in apt's order."""
    sources: list[Source] = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            sources += _deb822(text)
        elif path.suffix == ".list":
            sources += filter(None, map(_one_line, text.splitlines()))
    return sources


def main_archive(sources: Iterable[Source], codename: str) -> Source | None:
    """The distribution's main archive among them; never the security one, nor another vendor's."""
    suites = {codename, f"{codename}-updates", *_SIMPLE_SUITES}
    for source in sources:
        named = " ".join((*source.uris, *source.suites))
        if "main" in source.components and suites & set(source.suites) and "security" not in named:
            return source
    return None


class Apt:
    """apt over ``sources``, with lists and caches in ``folder``, which is made when it is missing."""

    def __init__(self, folder: Path, sources: Iterable[Source]) -> None:
        self.folder = folder
        (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        listed = folder / "list.sources"
        listed.write_text("\n".join(map(_stanza, sources)), encoding="utf-8")
        self.options = [
            f"-oDir::Etc::sourcelist={listed}",
            "-oDir::Etc::sourceparts=-",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::Cache::pkgcache={folder / 'packages.bin'}",
            f"-oDir::Cache::srcpkgcache={folder / 'sources.bin'}",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "-oAPT::Get::List-Cleanup=true",
            "-oDPkg::Lock::Timeout=120",
        ]
        if os.geteuid() == 0:
            # apt would fetch as the user _apt, who may not enter root's own cache folder.
            self.options.append("-oAPT::Sandbox::User=root")

    def update(self) -> None:
        """Fetch the package lists. Raises LabFailed, with apt's reason."""
        # Without the option apt calls a list that it could not fetch a warning, and goes on with an old one.
        self.run("apt-get", "-oAPT::Update::Error-Mode=any", "update")

    def names(self, pattern: str) -> list[str]:
        """The packages that really exist and whose names match the regular expression."""
        listed = self.run("apt-cache", "search", "--names-only", pattern)
        return [line.split(" ", 1)[0] for line in listed.splitlines()]

    def download(self, package: str, into: Path) -> Path:
        """Fetch one package, checked against the signed index, into a folder; returns the file."""
        self.run("apt-get", "download", package, cwd=into)
        return next(into.glob("*.deb"))

    def install(
        self, packages: list[str], report: Callable[[str], None], *, release: str = "", simulate: bool = False
    ) -> None:
        """Install packages; ``report`` gets what apt is at, in its words. ``release`` is preferred for all of them."""
        options = [*(["-t", release] if release else []), *(["-s"] if simulate else [])]
        self.run("apt-get", "-y", "--no-install-recommends", *options, "install", *packages, report=report)

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None, report: Callable[[str], None] | None = None
    ) -> str:
        """Run one of apt's programs to its end; raises LabFailed with the lines it gives as the reason."""
        read, write = os.pipe()
        command = [program, *self.options, f"-oAPT::Status-Fd={write}", *arguments]
        with (self.folder / "output").open("w+b") as output, os.fdopen(read, errors="replace") as status:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[write],
                )
            except FileNotFoundError:
                raise MissingTool(f"{program} is not on this machine.") from None
            finally:
                os.close(write)
            try:
                for line in status:
                    _report_status(line, report)
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        if code:
            raise _failure(program, said)
        return said


def _report_status(line: str, report: Callable[[str], None] | None) -> None:
    """``dlstatus:PACKAGE:PERCENT:WORDS`` or ``pmstatus:…``; see README.progress-reporting of apt."""
    kind, *words = line.strip().split(":", 3)
    if report and kind in {"dlstatus", "pmstatus"} and len(words) == 3:
        report(words[2])


def _failure(program: str, output: str) -> LabFailed:
    reasons = [line[2:].strip() for line in output.splitlines() if line.startswith("E:")]
    everything = "\n".join(reasons)
    if "No space left" in output or "enough free space" in output:
        return LabFailed("No space is left for what apt has to fetch.", "Free about 1 GB, and try again.", everything)
    if re.search(r"Temporary failure|Could not (resolve|connect)|Connection (failed|timed out)|unreachable", output):
        return LabFailed("The package mirror of this machine cannot be reached.", "Check the network.", everything)
    first = reasons[0] if reasons else output.strip()[-200:]
    return LabFailed(f"{program} failed: {first}", "", everything)


def _stanza(source: Source) -> str:
    fields = {
        "Types": "deb",
        "URIs": " ".join(source.uris),
        "Suites": " ".join(source.suites),
        "Components": " ".join(source.components),
        **source.options,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _deb822(text: str) -> list[Source]:
    found = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:
                fields[name] += f"\n{line}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in {"no", "false"}:
            found.append(
                Source(
                    tuple(fields.get("uris", "").split()),
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    {each: fields[each.lower()] for each in _OPTIONS_KEPT if each.lower() in fields},
                )
            )
    return found


def _one_line(line: str) -> Source | None:
    matched = _ONE_LINE.match(line.strip())
    if not matched:
        return None
    given = dict(each.split("=", 1) for each in (matched["options"] or "").split() if "=" in each)
    options = {each: given[each.lower()] for each in _OPTIONS_KEPT if each.lower() in given}
    return Source((matched["uri"],), (matched["suite"],), tuple(matched["rest"].split()), options)
