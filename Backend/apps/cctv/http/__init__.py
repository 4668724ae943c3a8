"""What the HTTP API is made of beside its routes: JSON shapes, errors as problem documents, permissions.

| module | has |
|---|---|
| `auth` | bearer tokens, and the permission that a route asks for |
| `problems` | errors as JSON, without a trace, a path or a credential |
| `schemas` | the shapes of the JSON |
"""
