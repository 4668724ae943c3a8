"""`manage.py run_web`: the web server alone, as `serve` starts it."""

from __future__ import annotations

import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.core.wsgi import get_wsgi_application

from config.listening import add_address_options, listen
from config.web_server import serve


class Command(BaseCommand):
    help = "The web server alone, as `serve` starts it. It migrates nothing and restarts nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        add_address_options(parser)
        parser.add_argument("--fd", type=int, help="the number of an inherited socket that listens already")

    def handle(self, *, host: str, port: int, fd: int | None, **options: Any) -> None:
        listener = listen(host, port) if fd is None else socket.socket(fileno=fd)
        serve(get_wsgi_application(), listener, trust_proxy_headers=settings.SECURE_PROXY_SSL_HEADER is not None)
