"""Starts the helper, or what verifies for it, from the copy that only root can write: ``launch.py helper|verify|…``.

Runs as ``python3 -ISB launch.py``, by itself: it knows nothing of schedtui until it has seen that nobody but root could
have changed the interpreter, its standard library, or this copy. Then this copy's folder is the one place that anything
else is imported from.
"""

# No pathlib, which imports more of the library before that was looked at.
# ruff: noqa: PTH100, PTH115, PTH118, PTH120, PTH123

import os
import stat
import sys

MAINS = {
    "helper": "schedtui.backend.helper.daemon",
    "verify": "schedtui.backend.verifier.service",
    "prepare": "schedtui.backend.setup.prepare",
    "kernel": "schedtui.backend.setup.kernel",
    "keep": "schedtui.backend.setup.keep",
}
KEPT = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM")
"""What a service manager says to what it starts; every other variable is dropped."""
STATE = "state"
"""Beside this file: the path of the folder that the helper and the verifier keep things in."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MOST_LINKS = 40
CANNOT_START = 78
"""The exit code for a wrong configuration, as in sysexits.h."""


def main() -> None:
    """Check, then become what the first argument names."""
    here = os.path.dirname(os.path.realpath(__file__))
    flags = sys.flags
    if not (flags.isolated and flags.no_site and flags.dont_write_bytecode):
        refuse("It must be started with -ISB, so that no start-up file of anybody's runs.")
    for path in (sys.executable, os.__file__, *sys.path, here, __file__):
        refuse_if(changeable(path))
    for folder, folders, files in os.walk(here):
        for each in (*folders, *files):
            refuse_if(changeable_here(os.path.join(folder, each)))
    if len(sys.argv) < 2 or sys.argv[1] not in MAINS:
        refuse(f"It starts {', '.join(MAINS)}, and nothing else.")
    name = sys.argv.pop(1)
    variables = {each: os.environ[each] for each in KEPT if each in os.environ}
    os.environ.clear()
    with open(os.path.join(here, STATE), encoding="utf-8") as file:
        state = file.read().strip()
    os.environ.update(variables, PATH=PATH, LANG="C.UTF-8", HOME="/nonexistent", SCHEDTUI_PREPARED=f"{state}/lab")
    if name in ("verify", "prepare"):
        own = f"{state}/verify"
        os.environ.update(XDG_CACHE_HOME=own, XDG_DATA_HOME=own, XDG_CONFIG_HOME=own)
    if name == "helper":
        sys.modules["_hashlib"] = None  # type: ignore[assignment]  # Python's own hashes do; OpenSSL's take 5 MB
    os.chdir("/")
    sys.path.append(os.path.join(here, "lib"))
    from importlib import import_module

    sys.exit(import_module(MAINS[name]).main())


def changeable(path: str) -> str:
    """Why somebody but root could change what ``path`` leads to, in words; empty when only root can.

    Looks at every folder and every link on the way, from the root on. What is not there yet counts as changeable where
    somebody but root could make it.
    """
    at, to_go, shared = "/", _parts(os.path.abspath(path)), ""
    links = 0
    while to_go:
        at = os.path.normpath(os.path.join(at, to_go.pop(0)))
        try:
            found = os.lstat(at)
        except FileNotFoundError:
            return shared
        why = _writable(found)
        # In a folder like /tmp only the owner may replace a thing that is there, and root's were checked.
        sticky = bool(found.st_mode & stat.S_ISVTX) and stat.S_ISDIR(found.st_mode) and found.st_uid == 0
        if why and not sticky:
            return f"{at} {why}"
        shared = f"{at} {why}" if why else ""
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > MOST_LINKS:
                return f"{at} leads round in circles"
            target = os.readlink(at)
            to_go = _parts(target) + to_go
            at = "/" if target.startswith("/") else os.path.dirname(at)
    return shared


def changeable_here(path: str) -> str:
    """The same for what lies in a folder that only root can change; a link in it has no business there."""
    found = os.lstat(path)
    why = "is a link" if stat.S_ISLNK(found.st_mode) else _writable(found)
    return f"{path} {why}" if why else ""


def _parts(path: str) -> list[str]:
    return [each for each in path.split("/") if each]


def _writable(found: os.stat_result) -> str:
    if found.st_uid != 0:
        return f"belongs to user {found.st_uid}"
    if stat.S_ISLNK(found.st_mode):
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
        return f"can be written by group {found.st_gid}"
    return ""


def refuse_if(why: str) -> None:
    """End when somebody but root could have changed what runs."""
    if why:
        refuse(f"{why}; only root may be able to change what runs here. Mend that, and run setup again.")


def refuse(why: str) -> None:
    """End without having run anything."""
    print(f"schedtui: not started. {why}", file=sys.stderr)
    sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
