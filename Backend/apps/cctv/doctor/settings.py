"""Settings that are allowed and may surprise. Invalid ones are refused when a process starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apps.cctv.doctor.finding import Finding, ok, warning
from apps.cctv.services.settings import ServiceSettings

_OTHERS_READ = 0o044
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings:
    """The settings that `doctor` looks at; made by `wiring.doctor_settings()`."""

    services: ServiceSettings

    credentials_path: str
    """The key file of a service account; empty where the machine's own credentials are used."""

    emulator_host: str
    """The address of an emulator that stands in for Google; empty for Google itself."""

    debug: bool
    """Whether error pages show code and settings (`DJANGO_DEBUG`)."""

    https_only: bool
    """Whether the pages demand HTTPS (`DJANGO_HTTPS`)."""

    allowed_hosts: tuple[str, ...]
    """The names under which the web server answers (`DJANGO_ALLOWED_HOSTS`)."""


def settings_findings(settings: DoctorSettings) -> Iterator[Finding]:
    services = settings.services
    if services.is_configured:
        yield ok("settings", f"Transfers go to the bucket {services.bucket}.")
    else:
        yield warning(
            "settings",
            "GCP storage is not configured: nothing can be transferred, and the bucket was not checked.",
            "Set GCP_STORAGE_USE_GCS=True and GCP_STORAGE_BUCKET_NAME, and credentials where the machine has none.",
        )
    hours = services.waiting_period.total_seconds() / 3600
    if not services.cleanup_local:
        yield ok("cleanup", "Local files are never deleted (GCP_STORAGE_CLEANUP_LOCAL=False).")
    elif hours < 1:
        yield warning(
            "cleanup",
            f"Local files are deleted {hours:g} hours after their upload: that leaves little time to notice a mistake.",
            "Set GCP_CLEANUP_DELAY_HOURS to 24, or to what the disk allows.",
        )
    else:
        yield ok("cleanup", f"Local files are deleted {hours:g} hours after their verified upload.")
    if settings.emulator_host:
        yield warning(
            "emulator",
            f"The bucket is an emulator at {settings.emulator_host}: nothing reaches Google.",
            "Unset STORAGE_EMULATOR_HOST outside of tests and demos.",
        )
    yield from _key_file(settings.credentials_path)
    if settings.debug:
        yield warning(
            "web", "DJANGO_DEBUG is on: error pages show settings and code.", "Switch it off outside of development."
        )
    # Without HTTPS it is enough that only this machine can reach the pages.
    if not settings.https_only and not _LOOPBACK.issuperset(settings.allowed_hosts):
        yield warning(
            "web",
            "Other machines can reach the pages, and passwords travel unencrypted.",
            "Put a proxy with TLS in front and set DJANGO_HTTPS=True.",
        )


def _key_file(path: str) -> Iterator[Finding]:
    if not path:
        return
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        # Run by another user than the worker's, doctor may not enter the folder of the key.
        yield warning("credentials", f"{path} cannot be checked: {error.strerror}.", "Check the path and its folder.")
        return
    if mode & _OTHERS_READ:
        yield warning("credentials", f"{path} can be read by other users of this machine.", f"Run `chmod 600 {path}`.")
