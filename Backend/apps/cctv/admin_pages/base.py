"""What all admin pages share: permissions that come from the role, and rows that are only read."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from apps.cctv.admin_pages.site import viewer
from apps.cctv.selectors.visibility import cameras_visible_to
from apps.users.permissions import Permission, may


class RolePermissions:
    """The role decides everything, by `may`; Django's model permissions decide nothing. None allows it to no role."""

    view_needs: ClassVar[Permission] = Permission.VIEW
    add_needs: ClassVar[Permission | None] = None
    change_needs: ClassVar[Permission | None] = None
    delete_needs: ClassVar[Permission | None] = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, self.view_needs)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return may(request.user, self.view_needs)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.add_needs is not None and may(request.user, self.add_needs)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.change_needs is not None and may(request.user, self.change_needs)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.delete_needs is not None and may(request.user, self.delete_needs)

    def has_view_or_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_view_permission(request, obj)


class RoleAdmin(RolePermissions, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A list and its detail pages: shown to each role that may view, changed as the permissions say."""

    list_per_page = 50
    # A second count of the whole table for "of 1,234,567 in all" would cost more than it tells.
    show_full_result_count = False
    list_filter_submit = True
    # Facets would cost a count for each choice of every filter.
    show_facets = ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list's filters ask.

        Django allows a lookup in any column: `?session_uri__startswith=` would spell a key out (P10), and
        `?detail__startswith=` what this person may not read.
        """
        name = lookup.split("__", maxsplit=1)[0]
        if name not in {column.name for column in self.opts.get_fields()}:
            return bool(super().lookup_allowed(lookup, value, request))
        filters = self.get_list_filter(request)
        columns = {entry[0] for entry in filters if isinstance(entry, tuple)}
        return name in columns or lookup in {getattr(entry, "parameter_name", None) for entry in filters}

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: object, object_id: str) -> NoReturn:
        """404 for a row that does not exist or is hidden from this person. Django leads to the front page instead."""
        raise Http404

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's "delete selected": nothing is deleted in bulk."""
        return {}


class RoleTabularInline(RolePermissions, TabularInline):  # type: ignore[misc]
    extra = 0


class ReadOnlyAdmin(RoleAdmin):
    """Every field is shown, and no role can edit one."""

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))


class TransferRecordAdmin(ReadOnlyAdmin):
    """Rows that belong to a transfer: shown to those who may see the transfer, and not changed."""

    search_fields: tuple[str, ...] = (
        "transfer__recording__name",
        "transfer__recording__camera__name",
        "transfer__gcp_storage_path",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows: QuerySet[Model] = super().get_queryset(request).select_related("transfer__recording__camera")
        # The address of an upload session is a key to the bucket: no page has it in memory (P10).
        rows = rows.defer("transfer__session_uri", "transfer__session_identity")
        user = viewer(request)
        if may(user, Permission.MANAGE):
            return rows
        return rows.filter(transfer__recording__camera__in=cameras_visible_to(user).order_by().values("pk"))


def count_of(rows: QuerySet[Any], by: str) -> Coalesce:
    """How many of `rows` point to each row of the list by their foreign key `by`.

    A sub-select, so that the database counts for the rows of one page and not for the whole table.
    """
    grouped = rows.filter(**{by: OuterRef("pk")}).order_by().values(by)
    return Coalesce(Subquery(grouped.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0)
