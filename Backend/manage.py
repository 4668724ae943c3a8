#!/usr/bin/env python3
"""Coldreel's commands."""

import os
import sys


def main() -> None:
    os.umask(0o077)  # before anything is created; `config.private` says why
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.processes import end_with_supervisor

    end_with_supervisor(os.environ)
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
