"""Writes: every change of state that a person or a worker makes goes through a service."""

from __future__ import annotations


class ServiceError(Exception):
    """A request that cannot be carried out; `detail` is for the person who asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotConfigured(ServiceError):
    """A setting is missing."""


class NotPermitted(ServiceError):
    """The role of this caller does not allow it."""


class NotFound(ServiceError):
    """There is no such thing, or it is not this caller's to see."""


class Conflict(ServiceError):
    """The state of things forbids it."""
