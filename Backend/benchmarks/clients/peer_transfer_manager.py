"""google-cloud-storage's transfer_manager. Arguments: url bucket folder ca-file workers."""

import sys
from pathlib import Path

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client, transfer_manager

CORES = 2


def main() -> None:
    url, bucket, folder = sys.argv[1:4]
    workers = int(sys.argv[5])
    client = Client(project="bench", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=url))
    names = sorted(path.name for path in Path(folder).iterdir())
    results = transfer_manager.upload_many_from_filenames(
        client.bucket(bucket),
        names,
        source_directory=folder,
        blob_name_prefix="recordings/",
        # Processes where the cores are the limit, threads where the line is.
        worker_type=transfer_manager.PROCESS if workers <= CORES else transfer_manager.THREAD,
        max_workers=workers,
    )
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise SystemExit(str(errors[0]))


if __name__ == "__main__":
    main()
