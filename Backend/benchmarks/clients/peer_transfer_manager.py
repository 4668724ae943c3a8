"""google-cloud-storage's transfer_manager, two processes. Arguments: url bucket folder ca-file."""

import sys
from pathlib import Path

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client, transfer_manager


def main() -> None:
    url, bucket, folder = sys.argv[1:4]
    client = Client(project="bench", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=url))
    names = sorted(path.name for path in Path(folder).iterdir())
    results = transfer_manager.upload_many_from_filenames(
        client.bucket(bucket),
        names,
        source_directory=folder,
        blob_name_prefix="recordings/",
        worker_type=transfer_manager.PROCESS,
        max_workers=2,
    )
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise SystemExit(str(errors[0]))


if __name__ == "__main__":
    main()
