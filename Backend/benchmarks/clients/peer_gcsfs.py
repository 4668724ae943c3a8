"""gcsfs. Arguments: url bucket folder ca-file files-at-once."""

import sys
from pathlib import Path

import gcsfs


def main() -> None:
    url, bucket, folder = sys.argv[1:4]
    remote = gcsfs.GCSFileSystem(token="anon", endpoint_url=url, project="bench")
    names = sorted(path.name for path in Path(folder).iterdir())
    remote.put(
        [f"{folder}/{name}" for name in names],
        [f"{bucket}/recordings/{name}" for name in names],
        batch_size=int(sys.argv[5]),
    )


main()
