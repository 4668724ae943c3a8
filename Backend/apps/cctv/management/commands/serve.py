"""`manage.py serve`: sets up the database, then keeps the web server and a worker running."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.listening import add_address_options, listen
from config.supervisor import AlreadyServed, Child, Supervisor, lock_home


class Command(BaseCommand):
    help = "Migrate, then run the web server and a worker until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        add_address_options(parser)
        parser.add_argument("--no-worker", action="store_true", help="the web server alone")

    def handle(self, *, host: str, port: int, no_worker: bool, **options: Any) -> None:
        # Before all else, so that a port in use is told before anything is migrated or started.
        listener = listen(host, port)
        settings.COLDREEL_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            lock_home(settings.COLDREEL_HOME)
        except AlreadyServed as refusal:
            raise CommandError(str(refusal)) from refusal
        # Only one process may migrate: the lock of the home, taken above, sees to that on this machine.
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        manage = str(settings.BASE_DIR / "manage.py")
        web = [sys.executable, manage, "run_web", "--fd", str(listener.fileno())]
        children = [Child("web server", web, os.environ, keep_open=[listener.fileno()])]
        if not no_worker:
            if not settings.GCP_STORAGE_USE_GCS:
                self.stderr.write("GCP_STORAGE_USE_GCS is off: nothing is uploaded or cleaned up.")
            children.append(Child("worker", [sys.executable, manage, "run_worker"], os.environ))
        self.stdout.write(f"Coldreel listens on http://{host}:{port}/ (Ctrl-C ends it).")
        self.stdout.flush()
        Supervisor(children, say=self.stderr.write).run()
