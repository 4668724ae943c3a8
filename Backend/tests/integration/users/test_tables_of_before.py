"""What former libraries had stored about people is gone after the migration."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE, NEWEST = [("users", "0001_initial")], [("users", "0002_login_failures_and_token_families")]
TABLES = ("axes_accessattempt", "token_blacklist_outstandingtoken")


def migrate(step: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(step)


@pytest.mark.django_db(transaction=True)
def test_tables_of_before_are_emptied_and_stay() -> None:
    migrate(BEFORE)
    try:
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"CREATE TABLE {table} (username text)")
                cursor.execute(f"INSERT INTO {table} VALUES ('a password typed as a name')")
        migrate(NEWEST)
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"SELECT count(*) FROM {table}")
                assert cursor.fetchone() == (0,)
    finally:
        migrate(NEWEST)
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE IF EXISTS {table}")
