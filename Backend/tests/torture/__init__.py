"""Long runs that try to break Coldreel: too long for CI, and never part of `make test`. See `__main__`."""
