"""What the threads behind the screens tell the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from textual.message import Message

from schedtui.act import Act
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import (
    Check,
    Deployment,
    Frame,
    MachineInfo,
    Metric,
    OthersStatus,
    Panic,
    PermanentChange,
    ProbeResult,
    Report,
    Scheduler,
    Setting,
)
from schedtui.feed import Feed

if TYPE_CHECKING:
    from schedtui.agent.engine import Story
    from schedtui.agent.events import AnyEvent
    from schedtui.asking import Asking
    from schedtui.backend.helper.protocol import HelperStatus
    from schedtui.trying import Trial


@dataclass
class DashboardReady(Message):
    """The panels are there."""


@dataclass
class OpeningStage(Message):
    """A machine that is being opened reached a stage."""

    feed: Feed
    text: str
    seconds: float


@dataclass
class MachineOpened(Message):
    """A machine is ready."""

    feed: Feed
    info: MachineInfo


@dataclass
class FrameArrived(Message):
    """A machine was sampled."""

    feed: Feed
    frame: Frame


@dataclass
class FeedFailed(Message):
    """A machine could not be opened, or no longer answers."""

    feed: Feed
    error: SchedtuiError


@dataclass
class ActStage(Message):
    """An act reached a stage."""

    act: Act
    text: str
    seconds: float


@dataclass
class ActEnded(Message):
    """An act worked (no error) or did not."""

    act: Act
    scheduler: Scheduler | None = None
    error: SchedtuiError | None = None


@dataclass
class AuditFailed(Message):
    """A panic is done, but could not be written to the log."""

    error: SchedtuiError


@dataclass
class PanicSettingsSeen(Message):
    """The latch and the hot key, as the helper keeps them; or why that is not known."""

    status: HelperStatus | None = None
    error: SchedtuiError | None = None


@dataclass
class PanicEnded(Message):
    """A panic has been carried out, or could not be."""

    panic: Panic | None = None
    error: SchedtuiError | None = None


@dataclass
class LoadsFailed(Message):
    """Loads could not be started or stopped."""

    error: SchedtuiError


@dataclass
class DeploymentChanged(Message):
    """A deployment on the machine that is watched changed its state."""

    deployment: Deployment


@dataclass
class DeploymentRecovered(Message):
    """What an earlier schedtui left in the middle is resolved."""

    deployment: Deployment


@dataclass
class KeptWasUpdated(Message):
    """What was kept is something else by now, and is not loaded again without being measured."""

    text: str


@dataclass
class BreakerAsks(Message):
    """The circuit breaker cannot tell whose fault it is that things got worse."""

    deployment: Deployment
    text: str


@dataclass
class ControlFailed(Message):
    """What an earlier schedtui left could not be looked at."""

    error: SchedtuiError


@dataclass
class TrialTold(Message):
    """Something happened in a trial."""

    trial: Trial


@dataclass
class AskingTold(Message):
    """Something happened in a request."""

    asking: Asking
    event: AnyEvent


@dataclass
class AskingEnded(Message):
    """A request came to its end: with its story, or with the reason why there is none."""

    asking: Asking
    story: Story | None = None
    error: SchedtuiError | None = None


@dataclass
class Examined(Message):
    """The doctor is done."""

    findings: list[Check]
    error: SchedtuiError | None = None


@dataclass
class OwnerSeen(Message):
    """Who runs what on this computer is known anew."""

    status: OthersStatus | None = None
    error: SchedtuiError | None = None


@dataclass
class PermanentSeen(Message):
    """What would be written for the next start of the computer, or was."""

    change: PermanentChange | None = None
    error: SchedtuiError | None = None


@dataclass
class Dived(Message):
    """A deep dive reached a stage, has its result, or failed."""

    stage: str
    result: ProbeResult | None = None
    error: SchedtuiError | None = None


@dataclass
class VerifyStage(Message):
    """A verification reached a stage."""

    act: Act
    text: str


@dataclass
class Verified(Message):
    """A verification ended: with its report, or with the reason why there is none.

    Of several kernels each has a report; ``last`` is with that of the last.
    """

    act: Act
    report: Report | None = None
    error: SchedtuiError | None = None
    last: bool = True


@dataclass
class MachineWanted(Message):
    """The user wants another machine: ``host``, ``lab`` or ``replay:FILE``."""

    spec: str


@dataclass
class OpeningUnwanted(Message):
    """The user no longer wants the machine that is being opened."""


@dataclass
class PresetWanted(Message):
    """The user wants this preset (or policy) to run; ``release`` ends a latched panic first.

    ``settings`` go over the preset's own, or over the policy's defaults.
    """

    preset: str
    release: bool = False
    settings: dict[str, Setting] = field(default_factory=dict)


@dataclass
class TrialWanted(Message):
    """The user wants this policy proven, measured beside what runs, and kept only if they say so.

    ``title`` is what they chose; ``class_id`` what it should be good for, where that is known; ``metric`` what was
    measured before, when it is to be measured again. ``release`` ends a latched panic first.
    """

    policy: str
    settings: dict[str, Setting]
    title: str
    class_id: str = ""
    metric: Metric | None = None
    release: bool = False


@dataclass
class TrialBegun(Message):
    """The user saw what a trial is about, and wants it to begin."""

    trial: Trial


@dataclass
class TuneWanted(Message):
    """The user wants these live tunables of the policy that runs to change, without loading it again."""

    policy: str
    settings: dict[str, Setting]


@dataclass
class RequestWanted(Message):
    """The user says in plain words what should get better."""

    words: str


@dataclass
class ReplyGiven(Message):
    """The user answered what the agent asked."""

    question_id: str
    choice: str


@dataclass
class SteeringGiven(Message):
    """The user says something more while the agent works."""

    words: str


@dataclass
class StopWanted(Message):
    """The user wants the agent to end its work."""


@dataclass
class ClientsTold(Message):
    """Servers for other programs said something; the follower has it."""


@dataclass
class ClientReply(Message):
    """The user answered what a connected program's work asked. ``client``: its Client.key."""

    client: tuple[int, int]
    question_id: str
    choice: str


@dataclass
class ClientWish(Message):
    """The user takes the machine back from a connected program, gives it back, or sends the program away."""

    client: tuple[int, int]
    wish: Literal["take-back", "give-back", "disconnect"]


@dataclass
class DefaultWanted(Message):
    """The user wants the kernel's own scheduler back."""


@dataclass
class LoadWanted(Message):
    """The user wants a load of this kind on the machine."""

    kind: str


@dataclass
class LoadsUnwanted(Message):
    """The user wants every load to stop."""
