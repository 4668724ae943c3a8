"""The settings under test: those of the product, with fast password hashes and plain static files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "COLDREEL_HOME" not in os.environ:
    home = os.environ["COLDREEL_HOME"] = tempfile.mkdtemp(prefix="coldreel-test-")
    # Those who inherit the variable do not come here, and forked children end without this.
    atexit.register(shutil.rmtree, home, ignore_errors=True)

os.environ.setdefault("COLDREEL_RESERVE_BYTES", "0")  # thousands of homes are made; tests of it make their own

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Static files straight from the apps: no `collectstatic` before a test, and no warning that it was not run.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
