"""The pages of the actions: offered in lists and on detail pages, asked about, carried out, and told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.forms import CharField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from apps.cctv import actions
from apps.cctv.actions import ACTIONS, Action, ActionRequest, carry_out, subject_of
from apps.cctv.admin_pages.base import RoleAdmin
from apps.cctv.admin_pages.site import viewer
from apps.cctv.models import Camera, OrphanedObject
from apps.users.permissions import may

MOST_MESSAGES = 5
"""Rows that are told one by one; the others are told as a number."""

ICONS: dict[Action, str] = {
    actions.TRANSFER: "cloud_upload",
    actions.RETRY: "refresh",
    actions.CANCEL: "cancel",
    actions.HOLD: "lock",
    actions.LIFT_HOLD: "lock_open",
    actions.CLEAN_UP: "delete_sweep",
    actions.DELETE_ORPHAN: "delete_forever",
    actions.ARCHIVE: "archive",
    actions.UNARCHIVE: "unarchive",
}
"""Names of Material Symbols, which the theme brings along."""

_KINDS: dict[type[Model], str] = {Camera: "camera", OrphanedObject: "object"}
"""What the rows of a page are called where a person is asked about them; else they are recordings."""


class ActionsAdmin(RoleAdmin):
    """A list and a detail page that offer the actions of `ACTIONS`.

    Each asks before it acts: GET, and the action that is chosen in the list, show a page, and only the POST of that
    page acts.
    """

    change_form_outer_before_template = "cctv/actions.html"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        allowed = [action for action in ACTIONS[self.model] if may(request.user, action.permission)]
        return {action.name: (_list_action(action), action.name, action.title) for action in allowed}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.action_view))
        name = f"{self.opts.app_label}_{self.opts.model_name}_do"
        return [path("<uuid:object_id>/do/<slug:action_name>/", view, name=name), *super().get_urls()]

    def action_view(self, request: HttpRequest, object_id: UUID, action_name: str) -> HttpResponse:
        """The page that asks (GET) and acts (POST) on one row."""
        action = next((action for action in ACTIONS[self.model] if action.name == action_name), None)
        rows = self.get_queryset(request).filter(pk=object_id)
        # A row that is hidden from this person is answered as one that does not exist.
        if action is None or not rows.exists():
            raise Http404
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id])
        return self.ask_or_act(request, action, rows, back=back) or HttpResponseRedirect(back)

    def ask_or_act(
        self, request: HttpRequest, action: Action, rows: QuerySet[Any], *, back: str = ""
    ) -> TemplateResponse | None:
        """The page that asks, or None after the action was carried out. Raises PermissionDenied."""
        if not may(request.user, action.permission):
            raise PermissionDenied
        confirmed = request.method == "POST" and "confirmed" in request.POST
        reason, complaint = _reason_of(request) if action.needs_reason and confirmed else ("", "")
        # One row more than allowed tells that there are too many, without counting all of them.
        chosen = list(rows[: action.most_rows + 1])
        if len(chosen) > action.most_rows:
            self.message_user(request, f"{action.title}: at most {action.most_rows} at a time.", messages.ERROR)
            return None
        if not confirmed or complaint:
            return self._ask(request, action, chosen, back=back, complaint=complaint)
        # Also rows that the page did not offer: their state may have changed since, and each refusal is told.
        results = carry_out(action, chosen, ActionRequest(viewer(request), timezone.now(), reason))
        for sentences, level in ((results.done, messages.SUCCESS), (results.refused, messages.WARNING)):
            for sentence in sentences[:MOST_MESSAGES]:
                self.message_user(request, sentence, level)
            if (more := len(sentences) - MOST_MESSAGES) > 0:
                self.message_user(request, f"{action.title}: {more} more likewise.", level)
        return None

    def _ask(
        self, request: HttpRequest, action: Action, rows: list[Any], *, back: str, complaint: str
    ) -> TemplateResponse:
        return TemplateResponse(
            request,
            "cctv/confirm.html",
            {
                **self.admin_site.each_context(request),
                "title": action.title,
                "opts": self.opts,
                "action": action,
                "icon": ICONS[action],
                "rows": [subject_of(row) for row in rows if action.applies(row)],
                "others": [subject_of(row) for row in rows if not action.applies(row)],
                "kind": _KINDS.get(self.model, "recording"),
                "complaint": complaint,
                "back": back or request.get_full_path(),
                "from_list": not back,
                "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            },
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # None on the page that adds a row, which has no actions.
        row = self.get_object(request, object_id) if object_id else None
        allowed = [
            (action, ICONS[action])
            for action in ACTIONS[self.model]
            if row is not None and may(request.user, action.permission) and action.applies(row)
        ]
        context = {**(extra_context or {}), "row_actions": allowed}
        return cast("HttpResponse", super().changeform_view(request, object_id, form_url, context))


def _reason_of(request: HttpRequest) -> tuple[str, str]:
    """The reason that goes into the recording's history, or what is wrong with it."""
    field = CharField(
        max_length=500, error_messages={"required": "Give a reason: it is kept in the recording's history."}
    )
    try:
        return field.clean(request.POST.get("reason", "")), ""
    except ValidationError as error:
        return "", error.messages[0]


def _list_action(action: Action) -> Callable[[ActionsAdmin, HttpRequest, QuerySet[Model]], HttpResponse | None]:
    # Made by a call of its own: in a loop each function would get the action of the last turn.
    def act(model_admin: ActionsAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
        return model_admin.ask_or_act(request, action, queryset)

    return act
