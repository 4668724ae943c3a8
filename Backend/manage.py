#!/usr/bin/env python3
"""Coldreel's commands."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.umask(0o077)  # before anything is created; `config.private_files` says why
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.dotenv import DotenvRefused, load
    from config.supervisor import end_with_supervisor

    is_a_child = end_with_supervisor(os.environ)
    named = os.environ.get("COLDREEL_ENV_FILE")
    try:
        load(Path(named or Path(__file__).resolve().parent / ".env"), os.environ, required=bool(named))
    except DotenvRefused as error:
        sys.exit(str(error))
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        if not is_a_child:  # its supervisor has told them
            sys.stderr.writelines(f"{sentence}\n" for sentence in settings.UNKNOWN_SETTINGS)
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OSError, DatabaseError) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(_line(error))


def _line(error: Exception) -> str:
    """What the machine refused, in a line; `--traceback` shows where."""
    if isinstance(error, OSError):
        return f"Cannot go on: {error}"
    hint = ""
    if "no such table" in str(error) or "does not exist" in str(error):
        hint = " (an empty database: run `manage.py migrate` first)"
    return f"The database refuses: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}{hint}"


if __name__ == "__main__":
    main()
