"""What may be wrong with the value of one setting, where its type does not say it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["function_problem", "origin_problem"]

WEB_ORIGIN = re.compile(r"(?P<scheme>https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
OTHER_ORIGIN = re.compile(r"(?!https?:|wss?:)[a-z][a-z0-9+.-]*://[^/?#@\s*]*")
"""Of pages in an application or a browser extension: ``capacitor://localhost``, ``file://``."""
DEFAULT_PORTS = {"http": "80", "https": "443"}
EXAMPLES = "'https://app.example.com' or 'http://localhost:3000'"


def origin_problem(origin: Any) -> str | None:
    """
    What is wrong with one of ``ALLOWED_ORIGINS``, said after its name.

    It is compared with what browsers send: scheme, host, and the port if it is not the scheme's own.

    Source: RFC 6454, section 6.2.
    """
    if isinstance(origin, str) and (origin in ("*", "null") or _is_origin(origin)):
        return None
    meant = _meant(origin) if isinstance(origin, str) else ""
    hint = f" (did you mean {meant!r}?)" if _is_origin(meant) else ""
    return f"must be of '*' and origins as browsers send them, such as {EXAMPLES}, not {origin!r}{hint}"


def _is_origin(text: str) -> bool:
    if found := WEB_ORIGIN.fullmatch(text):
        return found["port"] is None or (found["port"] != DEFAULT_PORTS[found["scheme"]] and not found["port"].startswith("0"))
    return OTHER_ORIGIN.fullmatch(text) is not None


def _meant(text: str) -> str:
    scheme, _, rest = text.strip().lower().rpartition("://")
    scheme = {"": "https", "ws": "http", "wss": "https"}.get(scheme, scheme)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{host.removesuffix(':' + DEFAULT_PORTS.get(scheme, ''))}"


def function_problem(value: Any) -> str | None:
    """What is wrong with a function that may be given by its dotted name, said after the setting's."""
    return None if callable(value) or isinstance(value, str) else f"must be a callable or its dotted name, not {value!r}"
