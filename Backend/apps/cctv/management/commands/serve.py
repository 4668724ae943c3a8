"""`manage.py serve`: sets up the database, then keeps the web server and a worker running."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import connection

from apps.cctv.installation import InstallationUnknown
from apps.cctv.management.checked import TablesCommand
from apps.cctv.management.site_options import add_site_options, site_of_options
from config.listening import add_address_options, listen
from config.supervisor import AlreadyServed, Child, Supervisor, lock_home


class Command(TablesCommand):
    help = "Run the web server and a worker until SIGTERM or Ctrl-C. On SQLite it migrates first."
    requires_migrations_checks = False  # `handle` asks

    def add_arguments(self, parser: CommandParser) -> None:
        add_address_options(parser)
        parser.add_argument("--no-worker", action="store_true", help="the web server alone")
        add_site_options(parser)

    def handle(self, *, host: str, port: int, no_worker: bool, **options: Any) -> None:
        # Before all else, so that a port in use is told before anything is migrated or started.
        listener = listen(host, port)
        settings.COLDREEL_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            lock_home(settings.COLDREEL_HOME)
        except AlreadyServed as refusal:
            raise CommandError(str(refusal)) from refusal
        # Only one process may migrate: the lock of the home, taken above, sees to that on this machine.
        if connection.vendor == "sqlite":
            call_command("migrate", interactive=False, verbosity=0)
        else:
            self.check_migrations()  # other machines use these tables too: their owner migrates them, once
        call_command("collectstatic", interactive=False, verbosity=0)
        manage = str(settings.BASE_DIR / "manage.py")
        web = [sys.executable, manage, "run_web", "--fd", str(listener.fileno())]
        children = [Child("web server", web, os.environ, keep_open=[listener.fileno()])]
        if not no_worker:
            if not settings.GCP_STORAGE_USE_GCS:
                self.stderr.write("GCP_STORAGE_USE_GCS is off: nothing is uploaded or cleaned up.")
            try:
                # Asked here too: a worker that refuses its site would be started again and again.
                site_of_options(options, say=lambda _: None)
            except InstallationUnknown as error:
                raise CommandError(error.detail) from error
            worker = [sys.executable, manage, "run_worker"]
            worker += ["--office"] if options["office"] else []
            worker += ["--site", options["site"]] if options["site"] else []
            children.append(Child("worker", worker, os.environ))
        self.stdout.write(f"Coldreel listens on http://{host}:{port}/ (Ctrl-C ends it).")
        self.stdout.flush()
        Supervisor(children, say=self.stderr.write).run()
