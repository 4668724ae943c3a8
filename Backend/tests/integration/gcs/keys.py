"""Key files in Google's form, of accounts that do not exist."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.gcs.certificates import private_pem


def write_key(path: Path, key: rsa.RSAPrivateKey, *, token_uri: str) -> Path:
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "coldreel-test",
                "private_key_id": "key-1",
                "private_key": private_pem(key).decode(),
                "client_email": "recorder@coldreel-test.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": token_uri,
            }
        )
    )
    return path
