"""The socket of the web server, opened before anything else is set up, so that a port in use is told at once."""

from __future__ import annotations

import os
import socket

from django.core.management.base import CommandError, CommandParser


def add_address_options(parser: CommandParser) -> None:
    """`--host` and `--port`, with the variables HOST and PORT as their defaults."""
    parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"), help="web port (PORT)")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket: connections wait on it until a server accepts them.

    Raises CommandError where the address is no address of this machine, or the port is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # Otherwise connections of the server before keep the port taken for a minute (TIME_WAIT).
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise CommandError(f"Cannot listen on {host}:{port} ({error}). PORT=8001 chooses another port.") from error
    return listener
