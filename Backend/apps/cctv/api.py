"""The HTTP API under /api/v0/."""

from ninja import NinjaAPI

api = NinjaAPI(title="Coldreel", version="0")
