"""Failed sign-ins are counted before the password is checked, so that guesses at once are no quicker.

Two counts for an attempt: of the name from its address, and of the address. An attempt counts as failed when it
begins; one that turns out right is taken back. From the second failure of a name on, the next attempt has to wait
1, 2, 4, … seconds; one that comes too early is not checked, and counts. At the limit of either count the pair or the
address is locked out, and what comes then writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils.crypto import salted_hmac

from apps.users.addresses import network_of
from apps.users.models import LoginFailures

_FREE_FAILURES = 1
_PURGED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SignInLimits:
    """`name_limit` failures of one name from one address, `address_limit` of all names from it."""

    name_limit: int
    address_limit: int
    cooloff: timedelta


class SignInAttempt:
    """One attempt of `username` from `address` to sign in."""

    def __init__(self, *, address: str, username: str, limits: SignInLimits, now: datetime) -> None:
        network = network_of(address)
        self._of_address = _key("address", network)
        self._of_name = _key("name", network, username)
        self._limits = {self._of_address: limits.address_limit, self._of_name: limits.name_limit}
        self._cooloff = limits.cooloff
        self._now = now

    def locked_seconds(self) -> int:
        """How long the lock-out still lasts, 0 where there is none. One read, no lock: floods end here."""
        return self._locked_seconds(list(LoginFailures.objects.filter(pk__in=self._limits)))

    def begin(self) -> int:
        """Count it as failed. The seconds after which it is welcome; 0 is now, and the password may be checked."""
        # Rows that count no more. What another process has locked is left to it: waiting for it could deadlock.
        with transaction.atomic():
            expired = LoginFailures.objects.filter(expires_at__lte=self._now).order_by()
            some = expired.select_for_update(skip_locked=True).values("pk")[:_PURGED_AT_ONCE]
            LoginFailures.objects.filter(pk__in=some).delete()
        with transaction.atomic():
            name, address = self._locked_rows()
            if locked_seconds := self._locked_seconds([name, address]):
                return locked_seconds
            early_seconds = self._seconds_until(name.wait_until)
            for row in (name, address):
                row.count += 1
            name.expires_at = self._now + self._cooloff
            pause = timedelta()
            if name.count >= self._limits[name.pk]:
                pause = self._cooloff
            elif name.count > _FREE_FAILURES:
                # The exponent is bounded: 2 ** 47 seconds are more than a timedelta holds.
                pause = min(timedelta(seconds=2.0 ** min(name.count - _FREE_FAILURES - 1, 30)), self._cooloff)
            name.wait_until = self._now + pause
            if address.count >= self._limits[address.pk]:
                address.wait_until = address.expires_at
            LoginFailures.objects.bulk_update([name, address], ["count", "wait_until", "expires_at"])
            return self._seconds_until(name.wait_until) if early_seconds else 0

    def succeed(self) -> None:
        """It was no failure, and what the same name failed before from there is forgotten."""
        LoginFailures.objects.filter(pk=self._of_name).delete()
        # The others of the address stay: a person with an account could else erase the count of guesses at others.
        LoginFailures.objects.filter(pk=self._of_address, count__gt=0).update(count=F("count") - 1)

    def _locked_rows(self) -> tuple[LoginFailures, LoginFailures]:
        """Both rows, made where they are not there, begun anew where they have expired; locked until the commit."""
        new = {"count": 0, "last_at": self._now, "wait_until": self._now, "expires_at": self._now + self._cooloff}
        LoginFailures.objects.bulk_create(
            # All attempts lock their rows in one order, so that two of them cannot wait for each other.
            [LoginFailures(pk=key, **new) for key in sorted(self._limits)],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["last_at"],
        )
        found = LoginFailures.objects.in_bulk(list(self._limits))
        for row in found.values():
            if row.expires_at <= self._now:
                row.count, row.wait_until, row.expires_at = 0, self._now, self._now + self._cooloff
        return found[self._of_name], found[self._of_address]

    def _locked_seconds(self, rows: Sequence[LoginFailures]) -> int:
        locked = (row.wait_until for row in rows if row.count >= self._limits[row.pk] and row.expires_at > self._now)
        return max(map(self._seconds_until, locked), default=0)

    def _seconds_until(self, moment: datetime) -> int:
        return max(0, math.ceil((moment - self._now).total_seconds()))


def _key(*parts: str) -> str:
    return salted_hmac("coldreel.login", "\0".join(parts), algorithm="sha256").hexdigest()
