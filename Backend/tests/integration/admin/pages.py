"""Addresses of the admin's pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from apps.users.models import User
from tests.form_client import FormClient as Client

FRONT = "/admin/"


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def add_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def page_of(row: Model, what: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{what}", args=[row.pk])


def action_of(row: Model, action: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_do", args=[row.pk, action])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def models() -> list[type[Model]]:
    return sorted(admin.site._registry, key=lambda model: model.__name__)


def rows_shown(response: Any) -> list[Any]:
    return list(response.context["cl"].result_list)


def told(response: Any) -> list[str]:
    """The messages on the page."""
    return [str(message) for message in response.context["messages"]]
