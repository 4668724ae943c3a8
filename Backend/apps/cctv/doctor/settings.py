"""Settings that are allowed and yet would surprise. Those that make no sense are refused at start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from apps.cctv.doctor.finding import Finding, ok, warning

_OTHERS_READ = 0o044
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "::1"}


def settings_findings() -> Iterator[Finding]:
    yield _bucket()
    yield _cleanup()
    yield from _emulator()
    yield from _key_file()
    yield from _web()


def _bucket() -> Finding:
    if settings.GCP_STORAGE_USE_GCS and settings.GCP_STORAGE_BUCKET_NAME:
        return ok("settings", f"Transfers go to the bucket {settings.GCP_STORAGE_BUCKET_NAME}.")
    return warning(
        "settings",
        "GCP storage is not configured: nothing can be transferred, and the bucket was not looked at.",
        "Set GCP_STORAGE_USE_GCS=True and GCP_STORAGE_BUCKET_NAME, and credentials where the machine has none.",
    )


def _cleanup() -> Finding:
    hours = settings.GCP_CLEANUP_DELAY_HOURS
    if not settings.GCP_STORAGE_CLEANUP_LOCAL:
        return ok("cleanup", "Local files are never deleted (GCP_STORAGE_CLEANUP_LOCAL=False).")
    if hours < 1:
        return warning(
            "cleanup",
            f"Local files go {hours:g} hours after their upload: there is hardly time to notice anything wrong.",
            "Set GCP_CLEANUP_DELAY_HOURS to 24, or to what the disk allows.",
        )
    return ok("cleanup", f"Local files go {hours:g} hours after their verified upload.")


def _emulator() -> Iterator[Finding]:
    if settings.STORAGE_EMULATOR_HOST:
        yield warning(
            "emulator",
            f"The bucket is an emulator at {settings.STORAGE_EMULATOR_HOST}: nothing reaches Google.",
            "Unset STORAGE_EMULATOR_HOST outside of tests and demos.",
        )


def _key_file() -> Iterator[Finding]:
    path = settings.GCP_STORAGE_CREDENTIALS_PATH
    if not path:
        return
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        yield warning("credentials", f"{path} cannot be looked at: {error.strerror}.", "Check the path and its folder.")
        return
    if mode & _OTHERS_READ:
        yield warning("credentials", f"{path} can be read by other users of this machine.", f"Run `chmod 600 {path}`.")


def _web() -> Iterator[Finding]:
    if settings.DEBUG:
        yield warning(
            "web", "DJANGO_DEBUG is on: error pages show settings and code.", "Switch it off outside of development."
        )
    if not settings.HTTPS_ONLY and not _LOOPBACK.issuperset(settings.ALLOWED_HOSTS):
        yield warning(
            "web",
            "Other machines may reach the pages and logins travel unencrypted.",
            "Put a proxy with TLS in front and set DJANGO_HTTPS=True.",
        )
