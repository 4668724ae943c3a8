"""A development emulator of the Google Cloud Storage calls that Coldreel makes.

It enforces what Coldreel's promises rest on: generations, preconditions, whole-object checksums, holds,
retention, exact resumable offsets; keeps objects and open sessions on disk across ``kill -9``; moves
gigabytes in bounded memory; and injects faults on request. What it does not know it refuses with 501.

    python -m gcs_emulator --data DIR --bucket NAME

A development tool: the product never imports it. `docs/guide/emulator.md` is its manual.
"""
