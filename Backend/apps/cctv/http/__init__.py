"""What the HTTP API is made of beside its routes: JSON shapes, errors as problem documents, permissions."""
