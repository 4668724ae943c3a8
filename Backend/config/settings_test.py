"""The settings under test: those of the product, with fast password hashes and plain static files."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("COLDREEL_HOME", tempfile.mkdtemp(prefix="coldreel-test-"))

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Static files straight from the apps: no `collectstatic` before a test, and no warning that it was not run.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
