"""Reads for the API, the admin and the commands. Nothing here writes."""
