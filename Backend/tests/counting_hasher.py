"""A password hasher that tells how often it ran, and how often at once: each run is a processor's work in the field."""

from __future__ import annotations

import threading
import time
from typing import Any

from django.contrib.auth.hashers import MD5PasswordHasher

NAME = f"{__name__}.CountingHasher"
HASH_SECONDS = 0.05


class Counted:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = self.running = self.most_at_once = 0

    def __enter__(self) -> None:
        with self._lock:
            self.runs += 1
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.running -= 1


class CountingHasher(MD5PasswordHasher):
    algorithm = "counted"
    counted = Counted()

    def encode(self, password: str, salt: str) -> str:
        with type(self).counted:
            time.sleep(HASH_SECONDS)
            return super().encode(password, salt)

    def harden_runtime(self, *_: Any) -> None:
        pass
