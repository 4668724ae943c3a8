"""Signing in with a password: failures are slowed, then locked out; few passwords are checked at a time.

Each refusal is one line of the log, `login.failed` with the client's address, for fail2ban
(docs/guide/signing-in.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.http import HttpRequest

from apps.users.addresses import client_address
from apps.users.attempts import SignInAttempt, SignInLimits
from apps.users.models import User

log = structlog.get_logger("coldreel.access")


class LoginRefused(Exception):
    """The name and the password do not belong together, or the user is inactive. The answer does not tell which."""


class LoginDelayed(Exception):
    """Too many failures, or too many sign-ins at once: the next is welcome in `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"retry after {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class PasswordChecks:
    """Lets `at_once` callers through at a time, while `waiting` more wait for them.

    A check is all work: a flood must not take every processor, nor its callers every thread of the server.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._running = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """False at once where there is no place left."""
        if not self._places.acquire(blocking=False):
            yield False
            return
        try:
            with self._running:
                yield True
        finally:
            self._places.release()


_CHECKS = PasswordChecks(at_once=max(1, min(2, (os.cpu_count() or 1) // 2)), waiting=4)


def login(*, request: HttpRequest, username: str, password: str, now: datetime) -> User:
    """The user with that name and password. Raises LoginRefused, LoginDelayed."""
    address = client_address(request, trusted_proxies=settings.COLDREEL_TRUSTED_PROXIES)
    attempt = SignInAttempt(address=address, username=username, limits=_limits(), now=now)
    if seconds := attempt.locked_seconds():
        raise _refused(address, username, "locked_out", seconds)
    with _CHECKS.turn() as has_turn:
        if not has_turn:
            log.warning("login.crowded", address=address)
            raise LoginDelayed(1)
        # Counted with a turn only: a caller who is sent away from the crowd has not failed.
        if seconds := attempt.begin():
            raise _refused(address, username, "too_early", seconds)
        user = authenticate(request=request, username=username, password=password)
    if isinstance(user, User):
        attempt.succeed()
        # Django notes it where it starts a session, and the API starts none.
        update_last_login(User, user)
        log.info("login.succeeded", address=address, username=username)
        return user
    raise _refused(address, username, "wrong_password", attempt.locked_seconds())


def _limits() -> SignInLimits:
    return SignInLimits(
        name_limit=settings.COLDREEL_LOGIN_FAILURE_LIMIT,
        address_limit=settings.COLDREEL_LOGIN_ADDRESS_LIMIT,
        cooloff=timedelta(minutes=settings.COLDREEL_LOGIN_COOLOFF_MINUTES),
    )


def _refused(address: str, username: str, reason: str, seconds: int) -> LoginRefused | LoginDelayed:
    # A name that does not exist is often a password in the wrong field: it goes into no log (P10).
    known = User.objects.filter(username=username).exists()
    log.warning("login.failed", address=address, reason=reason, username=username if known else None)
    return LoginDelayed(seconds) if seconds else LoginRefused()
