"""Command of the machine that is watched: its deployments, the request that is worked on, the breaker of what was kept.

Belongs to one machine, from its first frame until the program turns to another or ends; then nothing stays there that
nobody decided on. All that blocks happens in threads; what they have to say goes to ``tell`` as messages. The frames
come from the feed, which alone consumes them.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from schedtui import messages as news
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.backend.model import Deployment, Frame, MachineInfo, Scheduler
from schedtui.feed import unexpected

if TYPE_CHECKING:
    from schedtui.agent.bench import Request
    from schedtui.agent.engine import Engine
    from schedtui.agent.events import AnyEvent
    from schedtui.asking import Asking
    from schedtui.backend.breaker import Breaker
    from schedtui.backend.deploy import Deployer
    from schedtui.desk import Desk
    from schedtui.trying import Trial

CLOSING_PATIENCE_S = 10.0
_REMEMBERED = 120
_STOPPED = "You stopped it."


class Control:
    """Of one open machine. Its methods return at once, except ``deployer``, ``take_back`` and ``close``."""

    def __init__(
        self, machine: Machine, info: MachineInfo, tell: Callable[[Message], None], *, kernel: Path | None = None
    ) -> None:
        self.machine = machine
        self.info = info
        self.asking: Asking | None = None
        """The last request, at work or over."""
        self.trial: Trial | None = None
        """The last trial that a person began, at work or over."""
        self.recent: deque[Frame] = deque(maxlen=_REMEMBERED)
        """The last frames, oldest first."""
        self._tell = tell
        self._kernel = kernel
        self._lock = threading.RLock()
        self._desk: Desk | None = None
        self._engine: Engine | None = None
        self._breaker: Breaker | None = None
        self._worker: threading.Thread | None = None
        self._trier: threading.Thread | None = None
        self._live: dict[int, Deployment] = {}
        """Those that are neither history nor undone, by their ids."""

    # What is seen

    def see(self, frame: Frame) -> None:
        """One more frame."""
        with self._lock:
            self.recent.append(frame)
            if self._desk is not None:
                self._desk.watch.add(frame)

    def lost(self, error: SchedtuiError) -> None:
        """No more frames will come."""
        with self._lock:
            if self._desk is not None:
                self._desk.watch.fail(error)

    # What is deployed

    def recover(self) -> None:
        """Resolve in a thread what a crash left, and tell it."""
        self._spawn(self._recover, "recover")

    def deployer(self) -> Deployer:
        """The machine's one deployer. Blocks while it is made; raises BadFile when the store cannot be used."""
        return self._ready().deployer

    def desk(self) -> Desk:
        """What commands would make for this machine themselves. Blocks, and raises, as ``deployer`` does."""
        return self._ready()

    @property
    def kept(self) -> Deployment | None:
        """What was kept on this machine and still runs, as far as is known."""
        with self._lock:
            return next((each for each in self._live.values() if each.state == "kept"), None)

    def take_back(self, reason: str = "You took it back.") -> Scheduler:
        """Give the machine back to the kernel's own scheduler, and revert what was deployed. Returns what runs."""
        with self._lock:
            desk, live = self._desk, list(self._live.values())
        for each in live if desk else ():
            assert desk is not None
            desk.deployer.revert(each, reason, by="person")
        return self.machine.unload()

    @property
    def is_busy(self) -> bool:
        """Whether a request or a trial is at work."""
        at_work = [each for each in (self.asking, self.trial) if each is not None]
        return any(not each.is_over for each in at_work)

    def try_out(self, trial: Trial) -> None:
        """Prove a policy and measure it in a thread; TrialTold tells of it. One at a time."""
        self.trial = trial
        self._trier = self._spawn(lambda: trial.run(self._ready, lambda: self._tell(news.TrialTold(trial))), "trial")

    # The request

    def ask(self, request: Request) -> Asking:
        """Work on a request in a thread; AskingTold and AskingEnded tell of it. One at a time."""
        from schedtui.asking import Asking

        asking = self.asking = Asking(request.words)
        self._worker = self._spawn(lambda: self._work(asking, request), "agent")
        return asking

    def reply(self, question_id: str, choice: str) -> None:
        """A person's answer."""
        if self._engine is not None:
            self._engine.reply(question_id, choice)

    def steer(self, words: str) -> None:
        """Something more from the person."""
        if self._engine is not None:
            self._engine.steer(words)

    def stop(self, why: str = _STOPPED) -> None:
        """End the request that is worked on; what was not kept is taken away."""
        with self._lock:
            if self.asking is None or self.asking.is_over:
                return
            self.asking.stopping = self.asking.stopping or why
            if self._engine is not None:
                self._engine.stop()

    def panicked(self) -> str:
        """F12 was pressed: what is worked on ends. Whoever watches a deployment sees by itself that it is gone.

        What it cut short, for a sentence: also in a turn of the kernel's own scheduler. Empty when nothing was at work.
        """
        trial, asking = self.trial, self.asking
        cut_short = ""
        if trial is not None and not trial.is_over:
            cut_short = f"the trial of {trial.policy.name}"
        elif asking is not None and not asking.is_over:
            cut_short = "the work on your request"
        self.stop("F12 was pressed.")
        if trial is not None:
            trial.stop("F12 was pressed.")
        return cut_short

    # The end

    def close(self, why: str = "schedtui was ended before it was decided.") -> None:
        """End everything; nothing undecided stays. Never raises, may be called twice, takes seconds at most."""
        self.stop("The program ends.")
        if self.trial is not None:
            self.trial.stop(why)
        for worker in (self._worker, self._trier):
            if worker is not None and worker is not threading.current_thread():
                worker.join(CLOSING_PATIENCE_S)
        with self._lock:
            desk, breaker = self._desk, self._breaker
            undecided = [each for each in self._live.values() if each.state != "kept"]
        if breaker is not None:
            breaker.stop()
        for each in undecided if desk else ():
            assert desk is not None
            with contextlib.suppress(SchedtuiError):
                desk.deployer.revert(each, why)

    # In threads

    def _ready(self) -> Desk:
        with self._lock:
            if self._desk is None:
                from schedtui.desk import Desk

                desk = Desk(self.machine, self.info, listen=self._changed, kernel=self._kernel)
                for frame in self.recent:
                    desk.watch.add(frame)
                self._desk = desk
            return self._desk

    def _recover(self) -> None:
        try:
            from schedtui.backend.resume import last_kept

            desk = self._ready()
            kept = last_kept(desk.store, desk.info.kind) if desk.info.kind == "host" else None
            for each in desk.deployer.recover():
                self._tell(news.DeploymentRecovered(each))
            if kept is not None:
                self._take_up(desk, kept)
        except SchedtuiError as error:
            self._tell(news.ControlFailed(error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._tell(news.ControlFailed(unexpected(error)))

    def _take_up(self, desk: Desk, kept: Deployment) -> None:
        """What an earlier schedtui kept: while it runs it is watched from here, and what was updated since is told."""
        from schedtui.backend.library.catalogue import load_library
        from schedtui.backend.resume import what_changed

        now = desk.machine.scheduler()
        changed = what_changed(desk.store, load_library(), desk.info)
        if (now.owner, now.digest, kept.state) == ("schedtui", kept.digest, "kept"):
            self._changed(kept)
        if changed:
            self._tell(news.KeptWasUpdated(changed))

    def _work(self, asking: Asking, request: Request) -> None:
        try:
            from schedtui.agent.minds import chosen_mind
            from schedtui.config import asks_never
            from schedtui.desk import let_go

            desk, mind = self._ready(), chosen_mind()
        except SchedtuiError as error:
            self._tell(news.AskingEnded(asking, error=error))
            return
        except Exception as error:  # noqa: BLE001  as above
            self._tell(news.AskingEnded(asking, error=unexpected(error)))
            return
        asking.mind, asking.offline = mind.name, not mind.needs_network
        try:
            engine = desk.engine(
                mind, lambda event: self._heard(asking, event), consent="yes" if asks_never() else "ask"
            )
            asking.limits = engine.limits
            with self._lock:
                self._engine = engine
            self._tell(news.AskingEnded(asking, story=engine.answer(request)))
        except SchedtuiError as error:
            self._tell(news.AskingEnded(asking, error=error))
        except Exception as error:  # noqa: BLE001  as above
            self._tell(news.AskingEnded(asking, error=unexpected(error)))
        finally:
            ended, self._engine = self._engine, None
            if ended is not None:
                ended.close()  # what was kept is watched from here, with all else that was
            let_go(mind)

    def _heard(self, asking: Asking, event: AnyEvent) -> None:
        engine = self._engine
        if engine is not None:
            asking.trajectory = engine.trajectory
            if asking.stopping:
                engine.stop()  # it was not wanted any more before it began
        self._tell(news.AskingTold(asking, event))

    def _changed(self, deployment: Deployment) -> None:
        """A deployment's state is another now; what is kept is watched from here on."""
        with self._lock:
            if deployment.state == "reverted":
                self._live.pop(deployment.id, None)
            else:
                self._live[deployment.id] = deployment
            if deployment.state == "kept":
                self._watch_over(deployment)
        self._tell(news.DeploymentChanged(deployment))

    def goal_of(self, digest: str) -> str:
        """Whose mode what runs was started in; empty when that is not known."""
        from schedtui.backend.resume import last_kept

        kept = list(self._live.values())
        if self._desk is not None:
            with contextlib.suppress(SchedtuiError):  # the store cannot be read: it is told elsewhere
                last = last_kept(self._desk.store, self._desk.info.kind)
                kept += [last] if last else []
        return next((each.goal for each in kept if each.digest == digest), "")

    def _watch_over(self, deployment: Deployment) -> None:
        from schedtui.backend.breaker import Breaker

        assert self._desk is not None
        if self._breaker is not None:
            self._breaker.stop()
        self._breaker = Breaker(
            self._desk.deployer, deployment, ask=lambda kept, text: self._tell(news.BreakerAsks(kept, text))
        )
        self._breaker.start()

    def _spawn(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread
