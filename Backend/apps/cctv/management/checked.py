"""A command that needs the tables as this program knows them, and does not begin without."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from apps.cctv.schema import SchemaMissing, require_schema


class TablesCommand(BaseCommand):
    requires_migrations_checks = True

    def check_migrations(self) -> None:
        """Django's hook, which only warns; here the command ends with status 1."""
        try:
            require_schema()
        except SchemaMissing as error:
            raise CommandError(error.detail) from error
