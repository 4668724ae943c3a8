"""`python -m tests.acceptance.fork_server`: starts the product's commands fast, each in a process of its own.

Loading Django and Google's libraries takes a second. This process loads them once and forks; each child is a
process with its own threads, connections and lock files, which a test kills with a signal. Orders come as JSON
lines on standard input; each is answered with one line on standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import django
import structlog
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.acceptance.kill_point import KillPoint, arm

LOADED_ONCE = (
    "apps.cctv.management.commands.cleanup_gcp_transfers",
    "apps.cctv.management.commands.run_worker",
    "apps.cctv.services.sweep",
    "offload.gcs",
)


def start(order: dict[str, Any]) -> int:
    """Fork a child that runs a management command; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        _write_to(Path(order["log"]))
        status = _run(order)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _write_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    os.close(0)


def _run(order: dict[str, Any]) -> int:
    random.seed()
    structlog.contextvars.clear_contextvars()
    for name, value in order.get("settings", {}).items():
        setattr(settings, name, value)
    if order.get("kill"):
        arm(KillPoint(**order["kill"]))
    try:
        call_command(*order["command"])
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return error.returncode
    except SystemExit as ended:
        return int(ended.code or 0)
    threading.setprofile(None)  # type: ignore[arg-type]
    sys.setprofile(None)
    return 0


def poll(order: dict[str, Any]) -> int | None:
    """How the child ended: its exit status, minus the signal's number, or None while it runs."""
    pid, status = os.waitpid(order["pid"], os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def call(order: dict[str, Any]) -> Any:
    """Run a function in a child and return what it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            for name, value in order.get("settings", {}).items():
                setattr(settings, name, value)
            module, _, function = order["function"].rpartition(".")
            answer = getattr(importlib.import_module(module), function)(**order.get("arguments", {}))
            with os.fdopen(writer, "w") as out:
                json.dump(answer, out)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"{order['function']} failed")
    return json.loads(text)


ORDERS = {"start": start, "poll": poll, "call": call}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    for name in LOADED_ONCE:
        importlib.import_module(name)
    print("ready", flush=True)  # noqa: T201 - the answer to being started
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": ORDERS[order["order"]](order)}
        except (RuntimeError, ChildProcessError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
