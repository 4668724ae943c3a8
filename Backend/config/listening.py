"""The socket of the web server, made before anything else is set up."""

from __future__ import annotations

import socket

from django.core.management.base import CommandError


def listen(host: str, port: int) -> socket.socket:
    """A socket on which connections wait until a server takes them. Raises CommandError where there is none to have."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise CommandError(f"Cannot listen on {host}:{port} ({error}). PORT=8001 chooses another port.") from error
    return listener
