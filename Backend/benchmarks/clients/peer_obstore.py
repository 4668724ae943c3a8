"""obstore (Rust), four files at once. Arguments: url bucket folder ca-file."""

import asyncio
import json
import sys
from pathlib import Path

import obstore
from obstore.store import GCSStore


async def main(url: str, bucket: str, files: list[Path]) -> None:
    # The only way to another endpoint: a service account that names it and asks for no token.
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    options = {"allow_http": True, "http1_only": True}
    store = GCSStore(bucket, config={"service_account_key": json.dumps(key)}, client_options=options)
    gate = asyncio.Semaphore(4)

    async def send(path: Path) -> None:
        async with gate:
            await obstore.put_async(store, f"recordings/{path.name}", path)

    await asyncio.gather(*(send(path) for path in files))


asyncio.run(main(sys.argv[1], sys.argv[2], sorted(Path(sys.argv[3]).iterdir())))
