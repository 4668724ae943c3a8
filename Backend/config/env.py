"""Settings from the environment. An invalid one is refused with its name, its value and what was expected.

A secret may also be given as a file: ``NAME_FILE`` holds the path of a file with the value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class Env:
    """Readers over one mapping of variables. Every reader raises ImproperlyConfigured for an invalid value."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables
        self._known: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        """The value without blanks around it; `default` where it is empty or missing."""
        self._known.add(name)
        return self._variables.get(name, "").strip() or default

    def unknown(self, prefixes: tuple[str, ...], *, also_known: tuple[str, ...] = ()) -> list[str]:
        """A sentence for each variable with one of those prefixes that no reader asked for, so probably misspelt.

        Call it when everything is read. `also_known` are names that are read elsewhere. Values are left out: one may
        be a secret.
        """
        known = self._known | set(also_known)
        names = sorted(name for name in self._variables if name.startswith(prefixes) and name not in known)
        guesses = {name: get_close_matches(name, sorted(known), n=1) for name in names}
        return [
            f"{name} is not a setting of Coldreel.{f' Did you mean {guess[0]}?' if guess else ''}"
            for name, guess in guesses.items()
        ]

    def secret(self, name: str) -> str:
        """The value of `name`, or the content of the file that ``NAME_FILE`` names; empty without either.

        Raises ImproperlyConfigured where both are set.
        """
        value = self.text(name)
        path = self.text(f"{name}_FILE")
        if not path:
            return value
        if value:
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(
                f"{name}_FILE={path!r} cannot be read ({error.__class__.__name__}): "
                "expected the path of a file with the secret in it."
            ) from error

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise _refusal(name, value, "True or False")

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """A whole number from `least` to `most`, both allowed."""
        return self._number(name, default, int, least=least, most=most, expected="a whole number")

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        return self._number(name, default, float, least=least, most=most, expected="a number")

    def words(self, name: str) -> list[str]:
        """The parts between commas, without blanks around them; empty parts are left out."""
        return [word.strip() for word in self.text(name).split(",") if word.strip()]

    def origins(self, name: str) -> list[str]:
        """Web origins, separated by commas, each with its scheme and without a path."""
        found = self.words(name)
        for origin in found:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:  # noqa: PLR2004
                raise _refusal(name, origin, "addresses like https://example.org, separated by commas")
        return found

    def folder(self, name: str, default: Path) -> Path:
        """An absolute path; ``~`` is the home of this user. The folder need not exist."""
        path = Path(self.text(name, str(default))).expanduser()
        if not path.is_absolute():
            raise _refusal(name, str(path), "an absolute path")
        return path

    def file(self, name: str, *, expected: str) -> str:
        """The path of an existing file, or empty. `expected` describes the file for the message."""
        path = self.text(name)
        if path and not Path(path).is_file():
            raise _refusal(name, path, expected)
        return path

    def _number(self, name: str, default: T, kind: Callable[[str], T], *, least: T, most: T, expected: str) -> T:
        value = self.text(name, str(default))
        expected = f"{expected} from {least} to {most}"
        try:
            number = kind(value)
        except ValueError as error:
            raise _refusal(name, value, expected) from error
        if not least <= number <= most:  # type: ignore[operator]
            raise _refusal(name, value, expected)
        return number


def _refusal(name: str, value: str, expected: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name}={value!r} is invalid: expected {expected}.")
