"""
A filter for the request logs of servers: queries are left out, since those of hubs hold tokens.

It imports nothing of Django, so that ``LOGGING`` can name it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

__all__ = ["WithoutQuery"]

QUERY = re.compile(r"\?.*?(?=(?: HTTP/[0-9.]+)?\Z)", re.DOTALL)
"""From the first question mark to the end, or to the end of a request line."""


class WithoutQuery(logging.Filter):
    """
    Cuts the query off paths and request lines among the arguments of a log record. It holds no record back.

    For loggers that write requests and nothing else: ``django.channels.server`` (daphne's ``runserver``), ``django.server`` (Django's own)
    and ``uvicorn.access``. What is formatted into the message itself stays as it is.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the arguments of this record. Always true."""
        if isinstance(record.args, Mapping):  # daphne
            record.args = {key: _without_query(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(_without_query(value) for value in record.args)
        return True


def _without_query(value: object) -> object:
    return QUERY.sub("", value, count=1) if isinstance(value, str) else value
