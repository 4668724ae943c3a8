"""Whether the database has the tables that this program was written for.

On PostgreSQL one `manage.py migrate` at the office changes the tables for all machines. A process that expects a
migration which the database does not have would fail at any statement, so it does not begin. The other way round a
database that is ahead is fine: the tables of a release can be used by the release before it.
"""

from __future__ import annotations

import importlib.util
import pkgutil

from django.apps import apps
from django.db import DatabaseError, connection, transaction

LOOK_SECONDS = 60.0
"""How often a running worker looks again."""


class SchemaMissing(Exception):
    """The database lacks migrations that this program needs; `detail` is for people."""

    def __init__(self, missing: list[str]) -> None:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        self.detail = (
            f"The database lacks the migration {missing[0]}{more}, which this program needs. Run `manage.py migrate` "
            "once, with the login that owns the tables; then start this again."
        )
        super().__init__(self.detail)


def require_schema() -> None:
    """Raises SchemaMissing where the database lacks a migration of this program. Raises Error where it is away."""
    if missing := missing_migrations():
        raise SchemaMissing(missing)


def missing_migrations() -> list[str]:
    """The migrations of this program that the database lacks, as `cctv.0001_initial`, oldest first; one query."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            applied = {f"{app}.{name}" for app, name in cursor.fetchall()}
    except DatabaseError:
        if "django_migrations" in connection.introspection.table_names():
            raise
        applied = set()  # an empty database
    return [name for name in _own_migrations() if name not in applied]


def _own_migrations() -> list[str]:
    """By the names of the files: to import them all takes longer than the query."""
    found = []
    for config in apps.get_app_configs():
        package = f"{config.name}.migrations"
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations is not None:
            names = sorted(module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
            found += [f"{config.label}.{name}" for name in names if not name.startswith("_")]
    return found
