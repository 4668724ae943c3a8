"""Signing in with a password: failures are slowed, then locked out.

django-axes counts the failures of a name from an address. From the second one on, the next attempt has to
wait 1, 2, 4, … seconds; one that comes too early is answered without a look at the password, and counts.
At `AXES_FAILURE_LIMIT` the pair is locked out for `AXES_COOLOFF_TIME`. No thread ever waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_client_ip_address
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.contrib.auth.signals import user_login_failed
from django.db.models import Max, Sum
from django.http import HttpRequest, QueryDict

from apps.users.models import User

log = structlog.get_logger("coldreel.access")

_FREE_FAILURES = 1


class LoginRefused(Exception):
    """The name and the password do not belong together, or the user is inactive: nobody learns which."""


class LoginDelayed(Exception):
    """Too many failures: the next attempt is welcome in `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"retry after {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


def login(*, request: HttpRequest, username: str, password: str, now: datetime) -> User:
    """The user with that name and password. Raises LoginRefused, LoginDelayed."""
    # django-axes stores the form of a failed login. A JSON body that came as a form would be there whole (P10).
    request.POST = QueryDict()
    try:
        _check_pace(request, username, now)
        user = authenticate(request=request, username=username, password=password)
    finally:
        # The API answers in its own words: the flag would make axes' middleware replace the answer.
        request.axes_locked_out = False  # type: ignore[attr-defined]
    if isinstance(user, User):
        AxesProxyHandler.reset_attempts(ip_address=get_client_ip_address(request), username=username)
        update_last_login(User, user)
        log.info("login", actor=username)
        return user
    log.warning("login_refused", actor=username)
    failures = _failures(request, username, now)
    if failures.locked:
        raise LoginDelayed(failures.wait_seconds(now))
    raise LoginRefused


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_at: datetime | None

    @property
    def locked(self) -> bool:
        return self.count >= settings.AXES_FAILURE_LIMIT

    def wait_seconds(self, now: datetime) -> int:
        """Whole seconds until the next attempt is welcome; 0 where it is now."""
        if self.last_at is None or self.count <= _FREE_FAILURES:
            return 0
        slowed = timedelta(seconds=2.0 ** min(self.count - _FREE_FAILURES - 1, 30))
        until = self.last_at + (settings.AXES_COOLOFF_TIME if self.locked else min(slowed, settings.AXES_COOLOFF_TIME))
        # django-axes reads the clock itself, a little after `now`.
        return max(0, math.ceil((until - max(now, self.last_at)).total_seconds()))


def _failures(request: HttpRequest, username: str, now: datetime) -> _Failures:
    found = AccessAttempt.objects.filter(
        username=username,
        ip_address=get_client_ip_address(request),
        attempt_time__gt=now - settings.AXES_COOLOFF_TIME,
    ).aggregate(count=Sum("failures_since_start"), last_at=Max("attempt_time"))
    return _Failures(found["count"] or 0, found["last_at"])


def _check_pace(request: HttpRequest, username: str, now: datetime) -> None:
    failures = _failures(request, username, now)
    wait_seconds = failures.wait_seconds(now)
    if not wait_seconds:
        return
    if not failures.locked:
        user_login_failed.send(sender=__name__, credentials={"username": username}, request=request)
        failures = _failures(request, username, now)
    log.warning("login_delayed", actor=username, seconds=wait_seconds)
    raise LoginDelayed(max(wait_seconds, failures.wait_seconds(now)))
