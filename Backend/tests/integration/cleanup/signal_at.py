"""`python -m tests.integration.cleanup.signal_at SIGNAL EVENT FUNCTION COMMAND …`: manage.py, which sends itself a signal.

The signal is sent to the process itself when the function (by its qualified name) is first entered
(EVENT ``call``) or left (``return``).
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management import execute_from_command_line


class Signaller:
    def __init__(self, number: signal.Signals, event: str, function: str) -> None:
        self._number, self._event, self._function = number, event, function

    def __call__(self, frame: FrameType, event: str, _: Any) -> Signaller | None:
        if frame.f_code.co_qualname != self._function:
            return None
        if event == self._event:
            sys.settrace(None)
            os.kill(os.getpid(), self._number)
        return self


def main(name: str, event: str, function: str, *command: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    sys.settrace(Signaller(signal.Signals[name], event, function))
    execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
