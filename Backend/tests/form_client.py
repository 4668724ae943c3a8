"""A test client that posts forms as browsers post those of this product: Django's own sends multipart, which is 415."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.test import Client

FORM = "application/x-www-form-urlencoded"


class FormClient(Client):
    def post(self, path: str, data: Any = None, content_type: str = FORM, **extra: Any) -> Any:
        if content_type == FORM and not isinstance(data, str | bytes):
            data = urlencode(data or {}, doseq=True)
        return super().post(path, data, content_type, **extra)
