"""The server process, which the page can kill where it is started again: under ``manage.py demo``."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NoReturn

from django.conf import settings

SUPERVISED = "DEMO_SUPERVISED"
"""In the environment of a process that is started again."""
KILLED = 86
"""The exit code of a process that was killed from the page."""


def can_be_killed() -> bool:
    """Whether there is somebody who starts this process again, and the site is nothing but a demo."""
    return settings.DEBUG and os.environ.get(SUPERVISED) == "1"


def kill() -> NoReturn:
    """End this process on the spot: nothing is closed, sent or written any more."""
    os._exit(KILLED)


class Supervisor:
    """Runs a server process, and another one whenever it was killed from the page. Signals to end go on to the process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = {**environment, SUPERVISED: "1"}
        self._child: subprocess.Popen[bytes] | None = None
        self._is_ending = False

    def run(self, on_restart: Callable[[int], None]) -> int:
        """
        Run until the process ends in another way, and give its exit code.

        Args:
            on_restart: Called with the process id of each process that was killed, before there is another.
        """
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP, and nohup has it ignored
            if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):
                signal.signal(number, self._pass_on)
        while True:
            # In a process group of its own, so that Ctrl-C comes once, from here.
            self._child = subprocess.Popen(self._command, env=self._environment, start_new_session=True)  # noqa: S603 - our own command
            if self._is_ending:  # by a signal that came before there was a process
                self._child.terminate()
            code = self._child.wait()
            if code != KILLED:
                return code
            on_restart(self._child.pid)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._is_ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
