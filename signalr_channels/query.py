"""Query strings as ASP.NET reads them: keys in any letter case."""

from __future__ import annotations

from urllib.parse import parse_qsl

__all__ = ["query_items"]

MOST_ITEMS = 100


def query_items(query_string: bytes) -> dict[str, list[str]]:
    """
    The items of a query string, keys in lower case, values decoded.

    A query of more than 100 items, or that is no query at all, counts as empty.
    """
    if not query_string:
        return {}
    items: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_ITEMS)
    except ValueError:
        return {}
    for key, value in pairs:
        items.setdefault(key.lower(), []).append(value)
    return items
