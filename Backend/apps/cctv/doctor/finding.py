"""What a check of doctor found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, `detail` says what was found, `advice` what to do (empty where all is well)."""

    check: str
    level: Level
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Finding:
    return Finding(check, Level.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    return Finding(check, Level.WARNING, detail, advice)


def problem(check: str, detail: str, advice: str) -> Finding:
    return Finding(check, Level.PROBLEM, detail, advice)


def worst(findings: Iterable[Finding]) -> Level:
    """The highest level among them; ok where there are none."""
    found = {finding.level for finding in findings}
    return next((level for level in (Level.PROBLEM, Level.WARNING) if level in found), Level.OK)
