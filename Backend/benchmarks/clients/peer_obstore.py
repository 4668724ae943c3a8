"""obstore (Rust). Arguments: url bucket folder ca-file files-at-once [MiB-a-part parts-at-once]."""

import asyncio
import json
import os
import sys
from pathlib import Path

import obstore
from obstore.store import GCSStore


async def main(url: str, bucket: str, files: list[Path], at_once: int, parts: dict[str, int]) -> None:
    # obstore takes another endpoint from a service account's key only; this one asks for no token.
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    options = {"allow_http": True, "http1_only": True}
    store = GCSStore(bucket, config={"service_account_key": json.dumps(key)}, client_options=options)
    slots = asyncio.Semaphore(at_once)

    async def send(path: Path) -> None:
        async with slots:
            await obstore.put_async(store, f"recordings/{path.name}", path, **parts)

    await asyncio.gather(*(send(path) for path in files))


own = sys.argv[6:]
parts = {"chunk_size": int(own[0]) * 2**20, "max_concurrency": int(own[1])} if own else {}
asyncio.run(main(sys.argv[1], sys.argv[2], sorted(Path(sys.argv[3]).iterdir()), int(sys.argv[5]), parts))
# All uploads have ended. A normal exit sometimes aborts in a thread of obstore's runtime.
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
