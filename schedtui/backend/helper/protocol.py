"""What the helper and its clients say to each other: one JSON object a line, in both directions.

A client sends ``Request(id, body)``; the server answers each with exactly one ``Reply`` of the same id, in
any order (a panic overtakes a load). Before it may come interim ones of that id, whose ``progress`` is set. A
subscribed client also gets replies with id 0: its Frames. A failure with id 0 is about the connection itself.
An object may come beside its message as a sealed memory file (SCM_RIGHTS): see ``sealed``.
Imported by code that runs as root: the standard library and msgspec only.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BY_KIND, BadMessage, SchedtuiError
from schedtui.backend.model import (
    Completed,
    Frame,
    MachineInfo,
    OthersStatus,
    Panic,
    PermanentChange,
    ProbeResult,
    Report,
    Sample,
    Scheduler,
    Setting,
)

VERSION = 2
MAX_REQUEST_BYTES = 4 << 20
"""Longest line a server reads: an object of 3 MB in base64. Policies are about 20 KB."""
MAX_REPLY_BYTES = 16 << 20
"""Longest line a client reads."""


class Hello(Struct, frozen=True, tag="hello"):
    """First message. A guest takes its wall clock from ``unix_time_ns`` after a restore."""

    version: int
    unix_time_ns: int


class Subscribe(Struct, frozen=True, tag="subscribe"):
    """Send a Frame each ``interval_s`` (0.1 to 60), beginning now; 0 ends the stream."""

    interval_s: float


class GetScheduler(Struct, frozen=True, tag="scheduler"):
    """Read the scheduler from the kernel now."""


class TakeSample(Struct, frozen=True, tag="sample"):
    """Read the counters now."""


class Focus(Struct, frozen=True, tag="focus"):
    """Count the processes of these names, and their descendants, apart; none ends it."""

    names: tuple[str, ...]


class Load(Struct, frozen=True, tag="load"):
    """Load these bytes as a sched_ext scheduler."""

    name: str
    object: bytes = b""
    settings: dict[str, Setting] = field(default_factory=dict)
    lease_s: float | None = None
    """Take it away again when no Renew came for so long (0.2 to 600). Until it is kept, it goes with its client too."""
    sealed: bool = False
    """The object comes as a sealed memory file with this message; ``object`` is empty. A host takes nothing else."""
    token: str = ""
    """The helper's own, if the client kept one. A host looks among those that it keeps otherwise."""


class Prove(Struct, frozen=True, kw_only=True, tag="prove"):
    """Have the helper's own verification judge an object, so that it may be loaded; a report is the answer."""

    name: str
    settings: dict[str, Setting] = field(default_factory=dict)
    quick: bool = False
    """A quick look is enough; for what is not of the helper's library it never is."""
    generated: bool = False
    """A model or a person wrote it. The helper finds out by itself what is not of its library."""
    sealed: bool = True
    """Its bytes come as a sealed memory file with this message."""


class EndProofs(Struct, frozen=True, tag="end-proofs"):
    """What this client asked to be proven, and is not yet, it does not wait for any more."""


class Renew(Struct, frozen=True, tag="renew"):
    """Whoever watches what was loaded under a lease is still there; from now on for ``lease_s``, when that is given."""

    lease_s: float | None = None


class Keep(Struct, frozen=True, tag="keep"):
    """What was loaded under a lease stays."""


class Tune(Struct, frozen=True, tag="tune"):
    """Change tunables of the policy that runs; only those that can be changed so."""

    settings: dict[str, Setting]


class Unload(Struct, frozen=True, tag="unload"):
    """Back to the kernel's own scheduler."""


class DoPanic(Struct, frozen=True, tag="panic"):
    """Back to the kernel's own scheduler now, and latch."""


class Unlatch(Struct, frozen=True, tag="unlatch"):
    """Allow loads again after a panic."""


class SetHotKey(Struct, frozen=True, tag="hot-key"):
    """Listen for the combination on every keyboard of this computer, or do not, also after a restart."""

    on: bool


class StartWorkload(Struct, frozen=True, tag="start-workload"):
    """Start one of ``workloads.KINDS``."""

    kind: str


class StopWorkloads(Struct, frozen=True, tag="stop-workloads"):
    """End them all."""


class Run(Struct, frozen=True, tag="run"):
    """Run a command to its end."""

    command: list[str]
    timeout_s: float


class PutFile(Struct, frozen=True, tag="put-file"):
    """Carry a piece of a file into a lab's guest."""

    path: str
    offset: int
    data: bytes
    executable: bool = False


class StartProgram(Struct, frozen=True, kw_only=True, tag="start-program"):
    """Start a program that was carried into a lab's guest, as its scheduler."""

    name: str
    """Of its entry in the library."""
    path: str
    arguments: tuple[str, ...]
    digest: str
    """See ``Program.digest``: what the helper reports while it runs."""
    settings: dict[str, Setting] = field(default_factory=dict)
    lease_s: float | None = None


class LoadProgram(Struct, frozen=True, kw_only=True, tag="load-program"):
    """Start an external scheduler of a host, which the helper finds and checks itself, and writes the arguments of."""

    name: str
    """Of its entry in the library."""
    goal: str
    """Whose mode; empty: as it is by itself."""
    settings: dict[str, Setting] = field(default_factory=dict)
    digest: str = ""
    """What the client has seen it proven as; another is not started."""
    lease_s: float | None = None
    token: str = ""
    """The helper's own word that it was proven, when the client holds it; see ``tokens``."""


class ProveProgram(Struct, frozen=True, kw_only=True, tag="prove-program"):
    """Have the helper's own verification run that very program."""

    name: str
    goal: str
    settings: dict[str, Setting] = field(default_factory=dict)
    quick: bool = False


class GetOutput(Struct, frozen=True, tag="output"):
    """What the scheduler's program printed last."""


class GetStatus(Struct, frozen=True, tag="status"):
    """What the helper says of itself."""


class GetOthers(Struct, frozen=True, tag="others"):
    """Who started what runs, and what else starts schedulers on this computer."""


class TakeOver(Struct, frozen=True, tag="take-over"):
    """Stop what scx.service and scx_loader run, and remember it."""


class GiveBack(Struct, frozen=True, tag="give-back"):
    """Start what was taken over, as it was."""


class MakePermanent(Struct, frozen=True, kw_only=True, tag="make-permanent"):
    """Have an external scheduler start with the computer; the helper writes its arguments."""

    name: str
    """Of its entry in the library."""
    goal: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    preview: bool = True
    """Only say what would be written."""


class UndoPermanent(Struct, frozen=True, tag="undo-permanent"):
    """Put the file that was written last back as it was."""

    preview: bool = True


class RunProbe(Struct, frozen=True, tag="probe"):
    """Look at every switch for some seconds: at all tasks, at a process, or at a control group."""

    name: str
    """Of ``probes.deep.CATALOGUE``."""
    pid: int
    """0: not one process."""
    cgroup: str
    """Its path below /sys/fs/cgroup; empty: not one group."""
    seconds: float


Body = (
    Hello
    | Subscribe
    | GetScheduler
    | TakeSample
    | Focus
    | Load
    | Prove
    | EndProofs
    | Renew
    | Keep
    | Tune
    | Unload
    | DoPanic
    | Unlatch
    | SetHotKey
    | StartWorkload
    | StopWorkloads
    | Run
    | RunProbe
    | PutFile
    | StartProgram
    | LoadProgram
    | ProveProgram
    | GetOutput
    | GetStatus
    | GetOthers
    | TakeOver
    | GiveBack
    | MakePermanent
    | UndoPermanent
)


class Request(Struct, frozen=True):
    """One message of a client."""

    id: int
    body: Body


class Failure(Struct, frozen=True):
    """An error, so that the client can raise the same one."""

    kind: str
    message: str
    remedy: str = ""
    details: str = ""


class HelperStatus(Struct, frozen=True, kw_only=True):
    """What the helper of a host says of itself."""

    version: int
    """Of the protocol."""
    program: str
    """The version of schedtui that it is a part of."""
    pid: int
    since: float
    """Unix time of its start."""
    allowed: tuple[int, ...] = ()
    """User ids that it serves, beside root."""
    sessions: int = 0
    """Clients now."""
    latched: bool = False
    why_latched: str = ""
    """What was done, in a few words; empty while loads are allowed."""
    panicked: float = 0.0
    """Unix time of the newest panic, released or not; 0: none is known."""
    returned: int = 0
    """How often something was loaded again, and taken out again, until the panic was released."""
    hot_key: bool = False
    """Whether the combination is listened for."""
    keyboards: int = 0
    """On how many."""
    rights: tuple[str, ...] = ()
    """The capabilities that it kept."""
    notes: tuple[str, ...] = ()
    """What it could not do when it started, in sentences."""
    tokens: int = 0
    """Proofs that it keeps."""
    proves: str = ""
    """Why it can prove nothing; empty when it can."""


class Reply(Struct, frozen=True, omit_defaults=True):
    """The answer to one request (same id), or a Frame of the stream (id 0). One field is set, or none for 'done'."""

    id: int
    progress: str = ""
    """What is being done for the request now. Not its answer, which is still to come."""
    failure: Failure | None = None
    info: MachineInfo | None = None
    scheduler: Scheduler | None = None
    panic: Panic | None = None
    completed: Completed | None = None
    probe: ProbeResult | None = None
    sample: Sample | None = None
    frame: Frame | None = None
    status: HelperStatus | None = None
    output: str | None = None
    others: OthersStatus | None = None
    permanent: PermanentChange | None = None
    report: Report | None = None
    token: str = ""
    """With a report that passed: the helper's permission, as text that means nothing to anybody else."""


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """The message as one line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises BadMessage when the line is not a request of this version's schema."""
    try:
        return _requests.decode(line)
    except _UNREADABLE as error:
        raise BadMessage(f"Not a request that this helper understands: {error}") from error


def decode_reply(line: bytes) -> Reply:
    """Raises BadMessage when the line is not a reply of this version's schema."""
    try:
        return _replies.decode(line)
    except _UNREADABLE as error:
        raise BadMessage(f"Not a reply that this client understands: {error}") from error


def failure_of(error: SchedtuiError) -> Failure:
    """An error as it travels."""
    return Failure(error.kind, error.message, error.remedy, error.details)


def error_of(failure: Failure) -> SchedtuiError:
    """The error that travelled, as its own class."""
    return BY_KIND.get(failure.kind, SchedtuiError)(failure.message, failure.remedy, failure.details)
