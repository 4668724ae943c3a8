"""Django settings, all of them read from the environment here and nowhere else."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import structlog
from django.core.exceptions import ImproperlyConfigured

from config.bounds import CLEANUP_BATCH_MOST, SETTLE_SECONDS_MOST, WORKER_UPLOADS_MOST
from config.env import Env
from config.logs import logging_config
from config.private_files import keep_umask, make_private, sqlite_file
from config.secret_key import secret_key_of_home

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- Places ---------------------------------------------------------------------------------------
keep_umask()  # here, because every process reads the settings first: commands, workers and the web server
COLDREEL_HOME = env.folder("COLDREEL_HOME", BASE_DIR.parent / "var")
MEDIA_ROOT = env.folder("MEDIA_ROOT", COLDREEL_HOME / "media")
COLDREEL_INSTALLATION_ID = env.text("COLDREEL_INSTALLATION_ID")
COLDREEL_RESERVE_BYTES = env.whole("COLDREEL_RESERVE_BYTES", 64 * 2**20, least=0, most=2**40)

# --- Google Cloud Storage -------------------------------------------------------------------------
GCP_STORAGE_USE_GCS = env.flag("GCP_STORAGE_USE_GCS", default=False)
GCP_STORAGE_BUCKET_NAME = env.text("GCP_STORAGE_BUCKET_NAME")
GCP_STORAGE_PROJECT_ID = env.text("GCP_STORAGE_PROJECT_ID")
GCP_STORAGE_CREDENTIALS_PATH = env.file(
    "GCP_STORAGE_CREDENTIALS_PATH", expected="the path of a service account's JSON key"
)
GCP_STORAGE_FORMER_BUCKETS = env.words("GCP_STORAGE_FORMER_BUCKETS")
GCP_STORAGE_CLASS = env.text("GCP_STORAGE_CLASS")
STORAGE_EMULATOR_HOST = env.text("STORAGE_EMULATOR_HOST")
COLDREEL_CA_FILE = env.file("COLDREEL_CA_FILE", expected="the path of a PEM file of trusted authorities")
GCP_STORAGE_CLEANUP_LOCAL = env.flag("GCP_STORAGE_CLEANUP_LOCAL", default=True)
GCP_CLEANUP_DELAY_HOURS = env.number("GCP_CLEANUP_DELAY_HOURS", 24, least=0, most=24 * 365)
GCP_CLEANUP_BATCH_SIZE = env.whole("GCP_CLEANUP_BATCH_SIZE", 50, least=1, most=CLEANUP_BATCH_MOST)
GCP_CLEANUP_MAX_RETRIES = env.whole("GCP_CLEANUP_MAX_RETRIES", 3, least=0, most=1000)
GCP_CLEANUP_QUARANTINE_HOURS = env.number("GCP_CLEANUP_QUARANTINE_HOURS", 0, least=0, most=24 * 365)

if GCP_STORAGE_USE_GCS and not GCP_STORAGE_BUCKET_NAME:
    raise ImproperlyConfigured(
        "GCP_STORAGE_BUCKET_NAME='' is invalid with GCP_STORAGE_USE_GCS=True: expected the name of a bucket."
    )

# --- Work: seconds, unless the name says otherwise -------------------------------------------------
COLDREEL_WORKER_UPLOADS = env.whole("COLDREEL_WORKER_UPLOADS", 20, least=1, most=WORKER_UPLOADS_MOST)
COLDREEL_SETTLE_SECONDS = env.number("COLDREEL_SETTLE_SECONDS", 10, least=0, most=SETTLE_SECONDS_MOST)
COLDREEL_POLL_SECONDS = env.number("COLDREEL_POLL_SECONDS", 1, least=0.01, most=60)
COLDREEL_HEARTBEAT_SECONDS = env.number("COLDREEL_HEARTBEAT_SECONDS", 10, least=0.05, most=300)
COLDREEL_LEASE_SECONDS = env.number("COLDREEL_LEASE_SECONDS", 40, least=0.2, most=3600)
COLDREEL_LEASE_MARGIN_SECONDS = env.number("COLDREEL_LEASE_MARGIN_SECONDS", 10, least=0.05, most=600)
COLDREEL_SWEEP_SECONDS = env.number("COLDREEL_SWEEP_SECONDS", 15, least=0.05, most=3600)
COLDREEL_CLEANUP_SECONDS = env.number("COLDREEL_CLEANUP_SECONDS", 3600, least=0.05, most=86_400)
COLDREEL_PROGRESS_SECONDS = env.number("COLDREEL_PROGRESS_SECONDS", 3, least=0, most=300)
COLDREEL_RETRY_BASE_SECONDS = env.number("COLDREEL_RETRY_BASE_SECONDS", 2, least=0.01, most=600)
COLDREEL_RETRY_CAP_SECONDS = env.number("COLDREEL_RETRY_CAP_SECONDS", 45, least=0.01, most=3600)
COLDREEL_RETRY_LIMIT = env.whole("COLDREEL_RETRY_LIMIT", 20, least=1, most=10_000)
COLDREEL_RETRY_HOURS = env.number("COLDREEL_RETRY_HOURS", 72, least=0, most=24 * 365)
COLDREEL_STALL_SECONDS = env.whole("COLDREEL_STALL_SECONDS", 30, least=1, most=600)
COLDREEL_STUCK_SECONDS = env.number("COLDREEL_STUCK_SECONDS", 300, least=0.5, most=86_400)

COLDREEL_SMALL_LIMIT_BYTES = env.whole("COLDREEL_SMALL_LIMIT_BYTES", 8 * 2**20, least=0, most=2**30)
COLDREEL_CHUNK_MIN_BYTES = env.whole("COLDREEL_CHUNK_MIN_BYTES", 8 * 2**20, least=2**18, most=2**32)
COLDREEL_CHUNK_MAX_BYTES = env.whole("COLDREEL_CHUNK_MAX_BYTES", 256 * 2**20, least=2**18, most=2**32)

for _name, _bytes in (
    ("COLDREEL_CHUNK_MIN_BYTES", COLDREEL_CHUNK_MIN_BYTES),
    ("COLDREEL_CHUNK_MAX_BYTES", COLDREEL_CHUNK_MAX_BYTES),
):
    if _bytes % 2**18 or _bytes < COLDREEL_CHUNK_MIN_BYTES:
        raise ImproperlyConfigured(
            f"{_name}={_bytes} is invalid: expected a multiple of 262144, and the largest chunk at least as large as "
            "the smallest."
        )
if not COLDREEL_HEARTBEAT_SECONDS + COLDREEL_LEASE_MARGIN_SECONDS < COLDREEL_LEASE_SECONDS:
    raise ImproperlyConfigured(
        f"COLDREEL_LEASE_SECONDS={COLDREEL_LEASE_SECONDS} is invalid: expected more than "
        "COLDREEL_HEARTBEAT_SECONDS and COLDREEL_LEASE_MARGIN_SECONDS together."
    )

# --- Django ---------------------------------------------------------------------------------------
DEBUG = env.flag("DJANGO_DEBUG", default=False)
SECRET_KEY = env.secret("DJANGO_SECRET_KEY") or secret_key_of_home(COLDREEL_HOME)
if len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 5 or SECRET_KEY.startswith("django-insecure-"):  # noqa: PLR2004
    raise ImproperlyConfigured(
        "DJANGO_SECRET_KEY is invalid: expected at least 50 characters, 5 different ones among them, none of "
        "Django's own prefix django-insecure-. Leave it out, and one is made in COLDREEL_HOME."
    )
ALLOWED_HOSTS = env.words("DJANGO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.origins("DJANGO_CSRF_TRUSTED_ORIGINS")
CORS_ALLOWED_ORIGINS = env.origins("CORS_ALLOWED_ORIGINS")
HTTPS_ONLY = env.flag("DJANGO_HTTPS", default=False)
_BEHIND_PROXY = env.flag("DJANGO_BEHIND_PROXY", default=False)
COLDREEL_TRUSTED_PROXIES = env.whole("COLDREEL_TRUSTED_PROXIES", int(_BEHIND_PROXY), least=0, most=10)

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "apps.cctv.admin_pages.config.ColdreelAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "ninja",
    "ninja_extra",
    "ninja_jwt",
    "apps.users",
    "apps.cctv",
]

MIDDLEWARE = [
    "config.middleware.ContentSecurityPolicy",
    "config.middleware.NoMultipart",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database(url: str) -> dict[str, Any]:
    """The default database. SQLite is set up so that many writers wait for each other and do not fail."""
    try:
        found: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    except (ValueError, KeyError, dj_database_url.ParseError, dj_database_url.UnknownSchemeError) as error:
        raise ImproperlyConfigured(
            "DATABASE_URL is invalid: expected sqlite:////absolute/path or postgres://user:password@host:port/name."
        ) from error
    if found["ENGINE"] == "django.db.backends.sqlite3":
        # How long a statement waits for the write lock of another connection: `?timeout=` in DATABASE_URL.
        timeout = found.get("OPTIONS", {}).get("timeout", 30)
        try:
            seconds = max(0.0, float(timeout))
        except ValueError as error:
            raise ImproperlyConfigured(f"DATABASE_URL: timeout={timeout} is invalid: expected seconds.") from error
        # Measured: without IMMEDIATE and WAL, two writers are enough for "database is locked".
        # FULL keeps a committed row through a power cut: https://www.sqlite.org/pragma.html#pragma_synchronous
        found["CONN_MAX_AGE"] = 0
        found["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": seconds,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        }
    elif found["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured("DATABASE_URL is invalid: expected SQLite or PostgreSQL.")
    return found


DATABASES = {"default": _database(env.secret("DATABASE_URL") or f"sqlite:///{COLDREEL_HOME / 'coldreel.sqlite3'}")}
make_private(COLDREEL_HOME, media_root=MEDIA_ROOT, database=sqlite_file(DATABASES["default"]))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "users.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
COLDREEL_LOGIN_FAILURE_LIMIT = env.whole("COLDREEL_LOGIN_FAILURE_LIMIT", 5, least=1, most=1000)
COLDREEL_LOGIN_ADDRESS_LIMIT = env.whole("COLDREEL_LOGIN_ADDRESS_LIMIT", 50, least=1, most=100_000)
COLDREEL_LOGIN_COOLOFF_MINUTES = env.number("COLDREEL_LOGIN_COOLOFF_MINUTES", 15, least=0.01, most=100_000)
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

NINJA_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ALGORITHM": "HS256",
}

# Large sorts of SQLite go through files: on the disk that has the reserve, and where other users cannot read.
os.environ.setdefault("SQLITE_TMPDIR", str(COLDREEL_HOME))

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = COLDREEL_HOME / "static"
# Django's default of 0644 would let other users read them. The application itself serves them.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
# Only a trusted proxy can tell that a request came over HTTPS. Without one, the redirect would lead back to itself.
SECURE_SSL_REDIRECT = HTTPS_ONLY and bool(_BEHIND_PROXY or COLDREEL_TRUSTED_PROXIES)
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # HSTS preload: browsers ship that list, it is for public sites
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _BEHIND_PROXY or COLDREEL_TRUSTED_PROXIES else None
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # 20,000 recording ids are about 0.8 MB

LOGGING_CONFIG = None
LOG_FORMAT = env.text("COLDREEL_LOG_FORMAT", "console")
if LOG_FORMAT not in {"console", "json"}:
    raise ImproperlyConfigured(f"COLDREEL_LOG_FORMAT={LOG_FORMAT!r} is invalid: expected console or json.")
logging_config(LOG_FORMAT, level=env.text("COLDREEL_LOG_LEVEL", "INFO").upper())
if _BEHIND_PROXY and not env.text("COLDREEL_TRUSTED_PROXIES"):
    structlog.get_logger("coldreel.settings").warning(
        "settings.one_proxy_assumed",
        hint="DJANGO_BEHIND_PROXY is set: set COLDREEL_TRUSTED_PROXIES as well, to 1 or to the number of proxies",
    )

UNFOLD = {
    "SITE_TITLE": "Coldreel",
    "SITE_HEADER": "Coldreel",
    "SITE_SUBHEADER": "Footage, proven in the bucket",
    "SITE_URL": None,
    "SITE_ICON": "apps.cctv.admin_pages.site.icon",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "apps.cctv.admin_pages.site.icon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "STYLES": ["apps.cctv.admin_pages.site.styles"],
    "SIDEBAR": {"navigation": "apps.cctv.admin_pages.site.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .017 200)",
            "100": "oklch(94% .037 200)",
            "200": "oklch(88.5% .065 200)",
            "300": "oklch(80.5% .095 201)",
            "400": "oklch(71.5% .11 204)",
            "500": "oklch(61.5% .105 208)",
            "600": "oklch(52% .095 213)",
            "700": "oklch(45% .08 215)",
            "800": "oklch(39% .065 217)",
            "900": "oklch(34% .052 219)",
            "950": "oklch(26% .042 221)",
        },
    },
}

# --- Variables of our prefixes that no setting reads: probably misspelt, `manage.py` shows them -----
UNKNOWN_SETTINGS = env.unknown(("GCP_", "COLDREEL_"), also_known=("COLDREEL_ENV_FILE",))
