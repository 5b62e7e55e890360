"""A visit is one opening of the page. Its id ties the page, its classic client and the buttons together."""

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

PARAMETER = "visit"
"""Its name in the query of every request of the classic client (``connection.qs`` of the jQuery client)."""


def visit_of(scope: Mapping[str, Any]) -> uuid.UUID | None:
    """The visit a request belongs to, or ``None`` if it comes from somewhere else."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    try:
        return uuid.UUID(query[PARAMETER][0])
    except (KeyError, ValueError):
        return None
