"""The `.env` file with settings: KEY=VALUE lines, which `manage.py` reads and no shell evaluates."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

QUOTES = ("'", '"')


class DotenvRefused(Exception):
    """The file cannot be read, or a line of it is no KEY=VALUE."""


def load(path: Path, environment: MutableMapping[str, str], *, required: bool) -> None:
    """Set the variables of the file that `environment` does not have yet.

    A missing file is refused only where it is `required`. Raises DotenvRefused.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if required:
            raise DotenvRefused(f"COLDREEL_ENV_FILE={str(path)!r} does not exist.") from error
        return
    except (OSError, UnicodeDecodeError) as error:
        raise DotenvRefused(f"{path} cannot be read ({error.__class__.__name__}).") from error
    for name, value in parsed(text, path).items():
        environment.setdefault(name, value)


def parsed(text: str, path: Path) -> dict[str, str]:
    """The names and values of `text`. Quotes around a value are removed as systemd does, and `$` is literal."""
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.isidentifier():
            raise DotenvRefused(f"{path}, line {number}, is invalid: expected NAME=VALUE.")
        if len(value) > 1 and value[0] in QUOTES and value[-1] == value[0]:
            value = value[1:-1]
        found[name] = value
    return found
