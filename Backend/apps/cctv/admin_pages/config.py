"""Puts Coldreel's admin site in the place of Django's."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ColdreelAdminConfig(AdminConfig):
    default_site = "apps.cctv.admin_pages.site.ColdreelAdminSite"
