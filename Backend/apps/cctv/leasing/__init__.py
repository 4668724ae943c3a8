"""Leases: who may work on a row and until when, who owns them, what is due next, and how workers are woken."""
