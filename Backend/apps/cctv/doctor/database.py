"""The database: whether it answers and is migrated, and whether SQLite is set up as the promises need it."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError, connection
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.installation import InstallationUnknown, installation_id
from apps.cctv.models import GCPVideoTransfer

PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
"""WAL lets readers work beside a writer. FULL (2) keeps a committed row through a power cut."""


def database_findings() -> Iterator[Finding]:
    """Ends with the first problem: without the database the other checks of it are not possible."""
    try:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
        # The plan alone takes a history with gaps for a complete one.
        executor.loader.check_consistent_history(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, InconsistentMigrationHistory) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        yield problem("database", f"It cannot be used: {lines[0]}", "Check DATABASE_URL, the server and its disk.")
        return
    if plan:
        first = f"{plan[0][0].app_label}.{plan[0][0].name}"
        yield problem("database", f"Migrations missing: {len(plan)}, {first} first.", "Run `manage.py migrate`.")
        return
    yield ok("database", f"{connection.display_name} answers, all migrations are applied.")
    if connection.vendor == "sqlite":
        for name, wanted in PRAGMAS.items():
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA {name}")
                (found,) = cursor.fetchone()
            if found != wanted:
                yield warning(
                    "sqlite",
                    f"{name} is {found}, not {wanted}: a power cut or a busy moment may cost work.",
                    "Keep the database on a local disk: network file systems do not support WAL.",
                )
    # By its id an upload and a cleanup tell their own objects from those of a copy of this database.
    try:
        own = installation_id()
    except InstallationUnknown as unknown:
        yield problem("installation", unknown.detail, "Do so before the next upload or cleanup.")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield problem("installation", f"Its id cannot be read: {error}.", "Check COLDREEL_HOME and its permissions.")
        return
    others = GCPVideoTransfer.objects.exclude(installation_id=own).count()
    if others:
        yield warning(
            "installation",
            f"Transfers of another installation: {others}. Their objects are not touched from here.",
            "If this machine took over from that one, set COLDREEL_INSTALLATION_ID to its id.",
        )
    else:
        yield ok("installation", f"This is installation {own}.")
