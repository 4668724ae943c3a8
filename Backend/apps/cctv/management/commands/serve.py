"""`manage.py serve`: the web server and a worker, set up and kept running."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.processes import Child, Supervisor


class Command(BaseCommand):
    help = "Migrate, then run the web server and a worker until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"), help="web port (PORT)")
        parser.add_argument("--no-worker", action="store_true", help="the web server alone")

    def handle(self, *, host: str, port: int, no_worker: bool, **options: Any) -> None:
        _refuse_a_taken_port(host, port)
        settings.COLDREEL_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        children = [Child("web server", web_command(host, port), os.environ)]
        if not no_worker:
            if not settings.GCP_STORAGE_USE_GCS:
                self.stderr.write("GCP_STORAGE_USE_GCS is off: nothing is uploaded or cleaned up.")
            children.append(Child("worker", [sys.executable, sys.argv[0], "run_worker"], os.environ))
        self.stdout.write(f"Coldreel listens on http://{host}:{port}/ (Ctrl-C ends it).")
        Supervisor(children, say=self.stderr.write).run()


def web_command(host: str, port: int) -> list[str]:
    """The web server alone, its settings from the environment."""
    return [
        *(sys.executable, "-m", "gunicorn", "config.wsgi"),
        *("--bind", f"{host}:{port}"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", "8"),
        # A request for 100,000 recordings may take half a minute on two cores.
        *("--timeout", "120", "--log-level", "warning"),
    ]


def _refuse_a_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise CommandError(f"Cannot listen on {host}:{port} ({error}). PORT=8001 chooses another port.") from error
