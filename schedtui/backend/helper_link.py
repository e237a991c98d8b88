"""The way from a user's schedtui to this computer's helper: found when it is there, found again when it came back.

What is asked of the helper is ``host``'s. Connecting is tried at most once a second, and costs nothing where there is
no socket.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.model import MachineInfo

SOCKET = "run/schedtui/helper.sock"
_TRY_EACH_S = 1.0
_HELLO_S = 5.0


class HelperLink:
    """Methods may be called from any thread."""

    def __init__(self, root: Path) -> None:
        self._path = root / SOCKET
        self._lock = threading.Lock()
        self._client: HelperClient | None = None
        self._tried = float("-inf")
        self._closed = False
        self.info: MachineInfo | None = None
        """What the helper said of the computer; None while there is none."""
        self.problem: SchedtuiError | None = None
        """Why a helper that is there does not serve us; None: there is none, or it does."""

    def client(self) -> HelperClient | None:
        """One that was greeted; None while there is no helper for us."""
        with self._lock:
            if self._client and not self._client.gone:
                return self._client
            now = time.monotonic()
            if self._closed or now - self._tried < _TRY_EACH_S:
                return None
            self._tried = now
            self._client = self._connected()
            return self._client

    @contextlib.contextmanager
    def for_panic(self) -> Iterator[HelperClient]:
        """The present one, or a new one that nothing else waits for; not greeted, because panic needs no greeting.

        Raises FileNotFoundError, SchedtuiError.
        """
        present = self._client
        if present and not present.gone:
            yield present
            return
        with contextlib.closing(connect(self._path)) as client:
            yield client

    def close(self) -> None:
        """Let go of the helper; what runs under a lease of ours goes."""
        self._closed = True
        client = self._client
        if client:
            client.close()

    def _connected(self) -> HelperClient | None:
        self.info = self.problem = None
        client = None
        try:
            client = connect(self._path)
            self.info = client.hello(_HELLO_S).info
        except FileNotFoundError:
            return None
        except SchedtuiError as error:
            self.problem = error
            if client:
                client.close()
            return None
        return client
