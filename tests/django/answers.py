"""What an ASGI application answers."""

from __future__ import annotations

from typing import Any

__all__ = ["read_answer"]


async def read_answer(communicator: Any, timeout: float) -> tuple[dict[str, Any], bytes]:
    """``(start, body)`` of an HTTP answer, once the application has ended; each step may take ``timeout`` seconds."""
    start = await communicator.receive_output(timeout)
    body = b""
    while True:
        part = await communicator.receive_output(timeout)
        body += part["body"]
        if not part.get("more_body"):
            break
    await communicator.wait(timeout)
    return start, body
