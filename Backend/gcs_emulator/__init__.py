"""A development emulator of the Google Cloud Storage calls that Coldreel makes.

It enforces what Coldreel's promises rest on: generations, preconditions, whole-object checksums, holds,
retention, exact resumable offsets. It keeps objects and open sessions on disk across ``kill -9``, moves
gigabytes in bounded memory, and injects faults on request. A call that it does not know is refused with 501.

How the service behaves is taken from its documentation: each module names the page.

    python -m gcs_emulator --data DIR --bucket NAME

A development tool: the product never imports it. `docs/guide/emulator.md` is its manual.
"""
