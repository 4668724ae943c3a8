"""Runs a function as another user, in a process that has given root up."""

from __future__ import annotations

import codecs
import os
import traceback
from collections.abc import Callable

ANOTHER_USER = 12345


def as_another_user(do: Callable[[], str]) -> str:
    """What `do` returns in a child process of that user; the trace where it raises."""
    codecs.lookup("ascii")  # the other user may not be able to read this interpreter's own files
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(ANOTHER_USER, ANOTHER_USER, ANOTHER_USER)
            os.setresuid(ANOTHER_USER, ANOTHER_USER, ANOTHER_USER)
            text = do()
        except BaseException:  # noqa: BLE001 - for the test to read
            text = traceback.format_exc()
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text
