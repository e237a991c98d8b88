"""What each message does: the table that a helper answers by. A helper of a host takes a part of it, and adds to it."""

from __future__ import annotations

import functools
import time

from schedtui.backend.errors import BadMessage
from schedtui.backend.helper import protocol
from schedtui.backend.helper.carried import begin_carried, put_file
from schedtui.backend.helper.commands import run_command
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.helper.server import Asked, Handler, Lane, Server
from schedtui.backend.helper.session import Session
from schedtui.backend.model import Event, Sample
from schedtui.backend.workloads import KINDS

INTERVAL_S = (0.1, 60.0)


class Handling:
    """The handlers of every helper, over one server, which is given once it is made."""

    server: Server

    def common(self) -> dict[type[Body], Handler]:
        """Watching, and giving the machine back."""
        return {
            protocol.Hello: Handler(Lane.AT_ONCE, self._hello),
            protocol.Subscribe: Handler(Lane.AT_ONCE, self._subscribe),
            protocol.GetScheduler: Handler(Lane.AT_ONCE, self._scheduler),
            protocol.TakeSample: Handler(Lane.LOOK, self._sample),
            protocol.Focus: Handler(Lane.LOOK, self._focus),
            protocol.Renew: Handler(Lane.AT_ONCE, self._renew),
            protocol.Keep: Handler(Lane.IN_ORDER, self._keep),
            protocol.Tune: Handler(Lane.IN_ORDER, self._tune),
            protocol.Unload: Handler(Lane.IN_ORDER, self._unload),
            protocol.DoPanic: Handler(Lane.PANIC, self._panic),
            protocol.GetOutput: Handler(Lane.LOOK, self._output),
            protocol.RunProbe: Handler(Lane.ASIDE, self._probe),
            protocol.Unlatch: Handler(Lane.PANIC, self._unlatch),
        }

    def lab(self) -> dict[type[Body], Handler]:
        """All of a lab's guest, where whoever asks may do everything."""
        return {
            **self.common(),
            protocol.Load: Handler(Lane.IN_ORDER, self._load),
            protocol.StartWorkload: Handler(Lane.IN_ORDER, self._start_workload),
            protocol.StopWorkloads: Handler(Lane.IN_ORDER, self._stop_workloads),
            protocol.Run: Handler(Lane.ASIDE, self._run),
            protocol.PutFile: Handler(Lane.IN_ORDER, self._put_file),
            protocol.StartProgram: Handler(Lane.IN_ORDER, self._start_program),
        }

    def _hello(self, session: Session, asked: Asked[protocol.Hello]) -> Reply:
        if asked.body.version != protocol.VERSION:
            raise BadMessage(
                f"The client speaks version {asked.body.version} of the helper's protocol, the helper version "
                f"{protocol.VERSION}.",
                "Update both to the same schedtui.",
            )
        session.greeted = True
        if self.server.set_clock:
            self.server.set_clock(asked.body.unix_time_ns)
        return Reply(asked.id, info=self.server.info, scheduler=self.server.control.scheduler())

    def _subscribe(self, session: Session, asked: Asked[protocol.Subscribe]) -> Reply:
        interval_s = asked.body.interval_s
        shortest, longest = INTERVAL_S
        if interval_s and not shortest <= interval_s <= longest:
            raise BadMessage(f"A Frame each {interval_s} s is outside {shortest} to {longest:.0f} s.")
        self.server.subscribe(session, interval_s)
        return Reply(asked.id)

    def _scheduler(self, _session: Session, asked: Asked[protocol.GetScheduler]) -> Reply:
        return Reply(asked.id, scheduler=self.server.control.scheduler())

    def _sample(self, session: Session, asked: Asked[protocol.TakeSample]) -> Reply:
        counts = session.watcher.counters().read()
        workloads = self.server.workloads
        sample = Sample(
            time_s=time.monotonic(),
            scheduler=self.server.control.scheduler(),
            wakeups=counts.wakeups,
            focus_wakeups=counts.focus_wakeups,
            work=workloads.work() if workloads else {},
            longest_wait_ms=counts.longest_wait_ms,
            longest_waiter=counts.longest_waiter,
            source=counts.source,
        )
        return Reply(asked.id, sample=sample)

    def _focus(self, session: Session, asked: Asked[protocol.Focus]) -> Reply:
        session.watcher.counters().focus(asked.body.names)
        return Reply(asked.id)

    def _load(self, session: Session, asked: Asked[protocol.Load]) -> Reply:
        it = asked.body
        loaded = self.server.control.load(it.name, it.object, it.settings, asked.panics, it.lease_s, session)
        return Reply(asked.id, scheduler=loaded)

    def _renew(self, session: Session, asked: Asked[protocol.Renew]) -> Reply:
        self.server.control.renew(asked.body.lease_s, session)
        return Reply(asked.id)

    def _keep(self, session: Session, asked: Asked[protocol.Keep]) -> Reply:
        return Reply(asked.id, scheduler=self.server.control.keep(session))

    def _tune(self, _session: Session, asked: Asked[protocol.Tune]) -> Reply:
        return Reply(asked.id, scheduler=self.server.control.tune(asked.body.settings))

    def _unload(self, _session: Session, asked: Asked[protocol.Unload]) -> Reply:
        return Reply(asked.id, scheduler=self.server.control.unload())

    def _panic(self, _session: Session, asked: Asked[protocol.DoPanic]) -> Reply:
        return Reply(asked.id, panic=self.server.control.panic())

    def _probe(self, session: Session, asked: Asked[protocol.RunProbe]) -> Reply:
        from schedtui.backend.helper.deep import run_probe  # seldom asked for: subprocess and all it draws in

        def unwanted() -> bool:
            return session.gone or self.server.control.panics != asked.panics

        it = asked.body
        return Reply(asked.id, probe=run_probe(it.name, it.pid, it.cgroup, it.seconds, unwanted))

    def _unlatch(self, _session: Session, asked: Asked[protocol.Unlatch]) -> Reply:
        self.server.control.unlatch()
        return Reply(asked.id)

    def _start_workload(self, _session: Session, asked: Asked[protocol.StartWorkload]) -> Reply:
        assert self.server.workloads is not None
        self.server.workloads.start(asked.body.kind)
        self._say(f"{KINDS[asked.body.kind].partition(':')[0]} started")
        return Reply(asked.id)

    def _stop_workloads(self, _session: Session, asked: Asked[protocol.StopWorkloads]) -> Reply:
        assert self.server.workloads is not None
        self.server.workloads.stop()
        self._say("All loads stopped")
        return Reply(asked.id)

    def _run(self, _session: Session, asked: Asked[protocol.Run]) -> Reply:
        return Reply(asked.id, completed=run_command(asked.body.command, asked.body.timeout_s))

    def _output(self, _session: Session, asked: Asked[protocol.GetOutput]) -> Reply:
        return Reply(asked.id, output=self.server.control.output())

    def _put_file(self, _session: Session, asked: Asked[protocol.PutFile]) -> Reply:
        put_file(asked.body)
        return Reply(asked.id)

    def _start_program(self, session: Session, asked: Asked[protocol.StartProgram]) -> Reply:
        it = asked.body
        begin = functools.partial(begin_carried, it)
        started = self.server.control.start(it.name, begin, it.digest, it.settings, asked.panics, it.lease_s, session)
        return Reply(asked.id, scheduler=started)

    def _say(self, text: str) -> None:
        self.server.announce(Event(time=time.time(), kind="info", text=text))
