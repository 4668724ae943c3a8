"""`manage.py run_web`: the web server alone."""

from __future__ import annotations

import os
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.core.wsgi import get_wsgi_application

from config.listening import listen
from config.web_server import serve


class Command(BaseCommand):
    help = "The web server alone, as `serve` starts it: sets nothing up and starts nothing again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"), help="web port (PORT)")
        parser.add_argument("--fd", type=int, help="a socket that listens already, by its number")

    def handle(self, *, host: str, port: int, fd: int | None, **options: Any) -> None:
        listener = listen(host, port) if fd is None else socket.socket(fileno=fd)
        serve(get_wsgi_application(), listener, trust_proxy_headers=settings.SECURE_PROXY_SSL_HEADER is not None)
