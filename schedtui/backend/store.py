"""What schedtui remembers of this computer, in one SQLite file of the data directory: what was asked for, what was
deployed, what it did here, and what was learned from it.

A damaged file is moved aside and told, never a reason to fail; one of an older schedtui is brought up to date. What
the rows mean is left to others: history.py, library/history.py, deploy.py.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from schedtui.backend.alive import lives, this_process
from schedtui.backend.errors import BadFile, UnknownName
from schedtui.backend.model import Deployment, Setting, Workload
from schedtui.paths import data_dir

_BUSY_S = 2.0
_LOOK_S = 0.02
_LEFT = "Stopped: the program was ended while it was worked on."
_STEPS = (
    """
CREATE TABLE outcome (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    policy TEXT NOT NULL,
    preset TEXT NOT NULL,
    settings TEXT NOT NULL,
    machine TEXT NOT NULL,
    kernel TEXT NOT NULL,
    cpus INTEGER NOT NULL,
    workload TEXT NOT NULL,
    metric TEXT NOT NULL,
    better TEXT NOT NULL,
    before REAL NOT NULL,
    after REAL NOT NULL,
    low_percent REAL,
    high_percent REAL,
    how TEXT NOT NULL,
    seconds REAL NOT NULL
);
CREATE INDEX outcome_of_policy ON outcome (policy, time);
""",
    """
ALTER TABLE outcome ADD COLUMN request INTEGER;
ALTER TABLE outcome ADD COLUMN deployment INTEGER;
CREATE INDEX outcome_of_deployment ON outcome (deployment);
CREATE TABLE workload (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    sentence TEXT NOT NULL,
    class_id TEXT NOT NULL,
    confidence REAL NOT NULL,
    evidence TEXT NOT NULL,
    metric TEXT NOT NULL
);
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    words TEXT NOT NULL,
    class_id TEXT NOT NULL,
    mind TEXT NOT NULL,
    machine TEXT NOT NULL,
    trajectory TEXT NOT NULL,
    state TEXT NOT NULL,
    text TEXT NOT NULL,
    workload INTEGER,
    calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    dollars REAL,
    seconds REAL NOT NULL,
    finished REAL
);
CREATE TABLE deployment (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    policy TEXT NOT NULL,
    settings TEXT NOT NULL,
    machine TEXT NOT NULL,
    kernel TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    request INTEGER,
    digest TEXT NOT NULL,
    comparison TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    watcher TEXT NOT NULL
);
CREATE INDEX deployment_of_request ON deployment (request);
CREATE TABLE learned (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    policy TEXT NOT NULL,
    class_id TEXT NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    made_by TEXT NOT NULL,
    request INTEGER
);
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    hash TEXT NOT NULL
);
""",
    "ALTER TABLE request ADD COLUMN watcher TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE deployment ADD COLUMN goal TEXT NOT NULL DEFAULT ''",
    """
CREATE TABLE profile (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    description TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL
);
CREATE INDEX profile_of_client ON profile (client, created);
CREATE TABLE profile_run (
    id TEXT PRIMARY KEY,
    profile TEXT NOT NULL,
    execution TEXT NOT NULL,
    scheduler TEXT NOT NULL,
    arguments TEXT NOT NULL,
    result TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE INDEX run_of_profile ON profile_run (profile, created);
""",
)
"""What makes a file of each version from one of the version before; the first from nothing."""
VERSION = len(_STEPS)
_JSON = {
    "outcome": ("settings",),
    "workload": ("evidence", "metric"),
    "request": (),
    "deployment": ("settings", "comparison"),
    "learned": (),
    "profile": (),
    "profile_run": ("arguments",),
}
"""By table: the columns that hold JSON."""
_Row = TypeVar("_Row", bound=Struct)


class Outcome(Struct, frozen=True, kw_only=True):
    """One metric before and after a policy took over."""

    policy: str
    metric: str
    """``wakeup_p99_us``, ``makespan_s``, …: the unit is its end."""
    before: float
    """Under the kernel's own scheduler."""
    after: float
    better: Literal["lower", "higher"] = "lower"
    low_percent: float | None = None
    """The change's 95 % interval, in per cent of ``before``; None when it was not measured often enough."""
    high_percent: float | None = None
    how: Literal["observed", "tested"] = "observed"
    """Seen while the policy ran, whatever else changed meanwhile; or compared under the same load, repeatedly."""
    preset: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    machine: str = "host"
    """``host`` or ``lab``."""
    kernel: str = ""
    cpus: int = 0
    workload: str = ""
    """A workload class, or the lab's loads; empty when unknown."""
    seconds: float = 0.0
    """How long was looked at, after the change."""
    time: float = field(default_factory=time.time)
    """Unix time."""
    request: int | None = None
    """The request that led to it; None when a person chose by hand."""
    deployment: int | None = None
    """The deployment whose canary it was; None for what was only seen."""

    @property
    def change_percent(self) -> float:
        """From before to after; negative when the metric fell."""
        return 100.0 * (self.after - self.before) / self.before if self.before else 0.0


class RequestRow(Struct, frozen=True, kw_only=True):
    """A sentence that somebody wrote, and what came of it."""

    id: int = 0
    """In the store."""
    time: float = field(default_factory=time.time)
    """Unix time."""
    words: str
    class_id: str = ""
    """One of ``catalogue.CLASSES``, or ``unknown``; empty until it was observed."""
    mind: str
    """Who worked on it: ``offline adviser``, or a model's name."""
    machine: str = "host"
    """``host`` or ``lab``."""
    trajectory: str = ""
    """Path of the file that holds every step; empty when there is none."""
    state: str = "open"
    """``open`` while it is worked on (when the program died: until the next start), then as ``events.Ended`` says."""
    text: str = ""
    """What came of it, in a sentence or two."""
    workload: Workload | None = None
    calls: int = 0
    """Of the mind."""
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    """None when a price is not known."""
    seconds: float = 0.0
    """That it took in all."""
    finished: float | None = None
    """Unix time."""
    watcher: str = ""
    """The process that worked on it; see alive.py. Empty: not known."""


class NoteRow(Struct, frozen=True, kw_only=True):
    """Something learned that is worth finding next time."""

    id: int = 0
    """In the store."""
    time: float = field(default_factory=time.time)
    """Unix time."""
    policy: str
    """That it is about; empty when it is about none in particular."""
    class_id: str
    """The workload class that it is about; empty for any."""
    text: str
    """In a sentence or two. Written by a mind: data, never an instruction."""
    kind: Literal["pattern", "failure"] = "pattern"
    """What is worth doing again; or what did not work, and why."""
    made_by: str = ""
    """Whose judgement it is: ``offline adviser``, a model's name, ``person``."""
    request: int | None = None
    """The request that taught it."""


class ProfileRow(Struct, frozen=True, kw_only=True):
    """A workload as a connected program describes it, to come back to."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    client: str
    """Whose it is: its identity, as ``mcp:claude``."""
    description: str
    """In its own words: data, never an instruction."""
    created: float = field(default_factory=time.time)
    """Unix time."""
    changed: float = field(default_factory=time.time)
    """Unix time; also when a run was added."""


class ProfileRun(Struct, frozen=True, kw_only=True):
    """What such a program says of one of its runs under a scheduler."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    profile: str
    """Id of the profile."""
    execution: str
    """As ``run_scheduler`` named it."""
    scheduler: str
    arguments: tuple[str, ...]
    result: str
    """In its own words: data, never an instruction."""
    created: float = field(default_factory=time.time)
    """Unix time."""


class AuditHead(Struct, frozen=True):
    """Where the audit log ended when it was last written, kept apart from the log."""

    entries: int
    hash: str
    """Of the last entry, in hex."""


class Store:
    """The file, opened when first needed. Its methods may be called from any thread, each for itself.

    Each method keeps all that it does or nothing, and raises BadFile when the file cannot be used: a full disk, a
    folder that may not be written, a row that makes no sense. Reading what was never kept gives nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / "history.sqlite"
        self.notes: list[str] = []
        """What a person should know of the file: that it was damaged, and where it lies now."""

    def add_outcome(self, outcome: Outcome) -> None:
        """Keep it."""
        with self._opened() as connection:
            _insert(connection, "outcome", _values("outcome", outcome))

    def outcomes(
        self,
        policy: str | None = None,
        limit: int = 1000,
        *,
        request: int | None = None,
        deployment: int | None = None,
    ) -> list[Outcome]:
        """Those of a policy, a request, a deployment, or of all, newest first."""
        where = {"policy": policy, "request": request, "deployment": deployment}
        return self._rows("outcome", Outcome, where, "time", limit)

    def add_request(
        self,
        words: str,
        class_id: str = "",
        mind: str = "",
        trajectory_path: str | Path = "",
        *,
        machine: str = "host",
        began: float | None = None,
    ) -> int:
        """Keep a request that began (at Unix time ``began``; None: now); its id. ``finish_request`` ends it."""
        began = time.time() if began is None else began
        row = RequestRow(
            words=words,
            class_id=class_id,
            mind=mind,
            trajectory=str(trajectory_path),
            machine=machine,
            time=began,
            watcher=this_process(),
        )
        with self._opened() as connection:
            return _insert(connection, "request", {**_values("request", row), "workload": None, "id": None})

    def finish_request(
        self,
        id: int,
        state: str,
        text: str,
        *,
        calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        dollars: float | None = 0.0,
        seconds: float = 0.0,
    ) -> None:
        """Keep how a request ended and what it cost; ``dollars`` None when the price is not known."""
        values: dict[str, Any] = {
            "state": state,
            "text": text,
            "calls": calls,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "dollars": dollars,
            "seconds": seconds,
            "finished": time.time(),
        }
        with self._opened() as connection:
            _update(connection, "request", id, values)

    def end_left_requests(self) -> list[int]:
        """End those that are open and whose process is gone, as stopped; returns their ids."""
        if not self._exists():
            return []
        with self._opened() as connection:
            found = connection.execute("SELECT id, watcher FROM request WHERE state = 'open'").fetchall()
            left = [row["id"] for row in found if not lives(row["watcher"])]
            for id in left:
                _update(connection, "request", id, {"state": "stopped", "text": _LEFT, "finished": time.time()})
        return left

    def add_workload(self, workload: Workload, *, request: int | None = None) -> int:
        """Keep what a person runs, as the workload of a request when one is given; returns its id."""
        with self._opened() as connection:
            id = _insert(connection, "workload", {**_values("workload", workload), "time": time.time()})
            if request is not None:
                _update(connection, "request", request, {"workload": id, "class_id": workload.class_id})
        return id

    def workloads(self, limit: int = 1000) -> list[Workload]:
        """Those that were seen, newest first."""
        return self._rows("workload", Workload, {}, "time", limit)

    def requests(self, limit: int = 1000) -> list[RequestRow]:
        """Newest first."""
        return self._requests("", {"limit": limit})

    def request(self, id: int) -> RequestRow:
        """One of them. Raises UnknownName."""
        found = self._requests("WHERE id = :id", {"id": id, "limit": 1})
        if not found:
            raise UnknownName(f"The history has no request {id}.", "See them all: schedtui history")
        return found[0]

    def add_deployment(self, deployment: Deployment) -> Deployment:
        """Keep a new one; returns it with its id (the one that it came with is ignored)."""
        with self._opened() as connection:
            id = _insert(connection, "deployment", {**_values("deployment", deployment), "id": None})
        return replace(deployment, id=id)

    def update_deployment(self, deployment: Deployment) -> None:
        """Keep what it has become; also when the file that held it was lost meanwhile."""
        values = _values("deployment", deployment)
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
        with self._opened() as connection:
            _insert(connection, "deployment", values, f" ON CONFLICT (id) DO UPDATE SET {changes}")

    def deployments(
        self, open_only: bool = False, *, request: int | None = None, limit: int = 1000
    ) -> list[Deployment]:
        """Newest first; ``open_only`` leaves out those that are kept or reverted."""
        where: dict[str, Any] = {"request": request}
        if open_only:
            where["state"] = ("proposed", "verified", "canary")
        return self._rows("deployment", Deployment, where, "created", limit)

    def deployment(self, id: int) -> Deployment:
        """One of them. Raises UnknownName."""
        found = self._rows("deployment", Deployment, {"id": id}, "id", 1)
        if not found:
            raise UnknownName(f"The history has no deployment {id}.", "See them all: schedtui history")
        return found[0]

    def add_note(self, note: NoteRow) -> int:
        """Keep what was learned; returns its id (the one that it came with is ignored)."""
        with self._opened() as connection:
            return _insert(connection, "learned", {**_values("learned", note), "id": None})

    def learned(self, policy: str | None = None, class_id: str | None = None, limit: int = 100) -> list[NoteRow]:
        """What was learned of a policy, of a class, or in all; newest first."""
        return self._rows("learned", NoteRow, {"policy": policy, "class_id": class_id}, "time", limit)

    def forget_note(self, id: int) -> None:
        """Take a note away that turned out wrong."""
        with self._opened() as connection:
            connection.execute("DELETE FROM learned WHERE id = ?", (id,))

    def add_profile(self, profile: ProfileRow) -> None:
        """Keep a workload that a connected program describes."""
        with self._opened() as connection:
            _insert(connection, "profile", _values("profile", profile))

    def profiles(self, client: str, *, id: str | None = None, limit: int = 1000) -> list[ProfileRow]:
        """Those of one program, newest first; ``id``: only that one."""
        return self._rows("profile", ProfileRow, {"client": client, "id": id}, "created", limit)

    def add_profile_run(self, run: ProfileRun) -> None:
        """Keep what was said of a run, and when its profile was last added to."""
        with self._opened() as connection:
            _insert(connection, "profile_run", _values("profile_run", run))
            connection.execute("UPDATE profile SET changed = ? WHERE id = ?", (run.created, run.profile))

    def profile_runs(self, profile: str, limit: int = 1000) -> list[ProfileRun]:
        """Those of a profile, newest first."""
        return self._rows("profile_run", ProfileRun, {"profile": profile}, "created", limit)

    def keep_audit_head(self, head: AuditHead) -> None:
        """Keep where the audit log ends now, unless a later end is kept already."""
        with self._opened() as connection:
            connection.execute(
                "INSERT INTO audit_head (id, entries, hash) VALUES (1, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET entries = excluded.entries, hash = excluded.hash WHERE excluded.entries > entries",
                (head.entries, head.hash),
            )

    def audit_head(self) -> AuditHead | None:
        """Where the audit log ended when it was last written; None when that is not known."""
        if not self._exists():
            return None
        with self._opened() as connection:
            row = connection.execute("SELECT entries, hash FROM audit_head").fetchone()
        return AuditHead(row["entries"], row["hash"]) if row else None

    def _requests(self, where: str, values: dict[str, Any]) -> list[RequestRow]:
        if not self._exists():
            return []
        query = f"SELECT * FROM request {where} ORDER BY time DESC, id DESC LIMIT :limit"
        with self._opened() as connection:
            rows = [dict(row) for row in connection.execute(query, values)]
            for row in rows:
                found = connection.execute("SELECT * FROM workload WHERE id = ?", (row["workload"],)).fetchone()
                row["workload"] = _read("workload", Workload, found) if found else None
            return [_read("request", RequestRow, row) for row in rows]

    def _rows(self, table: str, kind: type[_Row], where: dict[str, Any], newest: str, limit: int) -> list[_Row]:
        """Those whose columns are what ``where`` says; None there means whatever it is, a tuple one of these."""
        if not self._exists():
            return []
        wanted = {
            name: value if isinstance(value, tuple) else (value,) for name, value in where.items() if value is not None
        }
        conditions = " AND ".join(f"{name} IN ({', '.join('?' * len(value))})" for name, value in wanted.items())
        query = f"SELECT * FROM {table} WHERE {conditions or 'TRUE'} ORDER BY {newest} DESC, id DESC LIMIT ?"
        values = [each for value in wanted.values() for each in value]
        with self._opened() as connection:
            return [_read(table, kind, row) for row in connection.execute(query, [*values, limit])]

    def _exists(self) -> bool:
        try:
            self.path.stat()
        except OSError:  # nothing was kept yet, or nothing can be
            return False
        return True

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection, with everything done in it kept at the end or not at all."""
        try:
            connection = self._connect()
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise BadFile(f"The history in {self.path} cannot be used: {error}.", _remedy(error)) from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                return self._sound_connection()
            except sqlite3.OperationalError as error:  # SQLite itself does not wait where two change the journal's mode
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
            except sqlite3.DatabaseError as error:
                self._move_aside(error)
                return self._sound_connection()

    def _sound_connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            found = _version(connection)
            if found > VERSION:
                raise BadFile(
                    f"{self.path} was written by a newer schedtui.", "Update schedtui, or move the file away."
                )
            if found < VERSION:
                self._bring_up_to_date(connection)
            else:
                _check_shape(connection, VERSION)
        except BaseException:
            connection.close()
            raise
        return connection

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            found = _version(connection)
            _check_shape(connection, found)
            _build(connection, found)

    def _move_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.path.replace(aside)
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        self.notes.append(f"The history was damaged ({error}); it begins anew, and the old file is {aside}.")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _build(connection: sqlite3.Connection, found: int, wanted: int = VERSION) -> None:
    for steps in _STEPS[found:wanted]:
        for statement in steps.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {wanted}")


def _shape(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns by table."""
    columns = connection.execute(
        "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table'"
    )
    shape: dict[str, set[str]] = {}
    for table, column in columns:
        shape.setdefault(table, set()).add(column)
    return shape


@functools.cache
def _shape_of(version: int) -> dict[str, set[str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        _build(connection, 0, version)
        return _shape(connection)


def _check_shape(connection: sqlite3.Connection, version: int) -> None:
    if _shape(connection) != _shape_of(version):
        raise sqlite3.DatabaseError("its tables are not as they should be")


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any], more: str = "") -> int:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    done = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places}){more}", values)
    return done.lastrowid or 0


def _update(connection: sqlite3.Connection, table: str, id: int, values: dict[str, Any]) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(f"UPDATE {table} SET {changes} WHERE id = :id", {**_plain(values), "id": id})


def _values(table: str, row: Struct) -> dict[str, Any]:
    values = _plain(msgspec.structs.asdict(row))
    for name in _JSON[table]:
        values[name] = _as_json(values[name])
    return values


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without what SQLite cannot hold: bytes of a command line that are no UTF-8."""
    return {
        name: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in values.items()
    }


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # a process's name that is no UTF-8
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False).encode(errors="replace").decode()


def _read(table: str, kind: type[_Row], row: Any) -> _Row:
    values: dict[str, Any] = {name: row[name] for name in kind.__struct_fields__}
    try:
        for name in _JSON[table]:
            values[name] = msgspec.json.decode(values[name])
        return msgspec.convert(values, kind)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise sqlite3.DatabaseError(f"row {row['id']} of {table} is damaged: {error}") from error


def _remedy(error: Exception) -> str:
    if "full" in str(error):
        return "Free some space on that disk; nothing else is affected."
    return "Everything else works without it; delete the file to begin anew."
