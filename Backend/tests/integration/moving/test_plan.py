"""Every table of every installed app is copied or rebuilt: one that a later release adds cannot be forgotten."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from django.apps import apps
from django.db import models
from django.test.utils import isolate_apps

from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.plan import NO_MODEL, move_plan


def test_every_model_of_every_app_is_in_the_plan() -> None:
    plan = move_plan()
    stored = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}

    assert {*(table.name for table in plan.copied), *plan.rebuilt} == stored


def test_every_table_of_a_database_is_known(filled: Path) -> None:
    """Also those that a migration makes without a model."""
    plan = move_plan()
    with closing(sqlite3.connect(filled / "coldreel.sqlite3")) as database:
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert there - {table.name for table in plan.copied} - set(plan.rebuilt) - NO_MODEL == set()


def test_tables_come_after_those_they_point_to() -> None:
    names = [table.name for table in move_plan().copied]

    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.ForeignKey) and model._meta.db_table in names:
                assert names.index(field.remote_field.model._meta.db_table) < names.index(model._meta.db_table)


@isolate_apps("apps.cctv")
def test_table_kept_by_triggers_is_not_copied() -> None:
    class Counted(models.Model):
        kept_by_triggers: ClassVar[bool] = True

        class Meta:
            app_label = "cctv"

    class Plain(models.Model):
        class Meta:
            app_label = "cctv"

    plan = move_plan([Counted, Plain])

    assert ([table.name for table in plan.copied], plan.rebuilt) == (["cctv_plain"], ("cctv_counted",))


@isolate_apps("apps.cctv")
def test_column_of_an_unknown_kind_is_refused() -> None:
    class Lasting(models.Model):
        length = models.DurationField()

        class Meta:
            app_label = "cctv"

    with pytest.raises(DatabaseMoveRefused, match="DurationField"):
        move_plan([Lasting])


@isolate_apps("apps.cctv")
def test_table_that_points_to_itself_is_refused() -> None:
    class Tree(models.Model):
        parent = models.ForeignKey("self", on_delete=models.PROTECT)

        class Meta:
            app_label = "cctv"

    with pytest.raises(DatabaseMoveRefused, match="Tree"):
        move_plan([Tree])
