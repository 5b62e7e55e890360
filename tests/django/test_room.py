"""How many connections a server process takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from signalr_channels import Hub
from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_tokens import new_classic_token
from signalr_channels.gate import Admission, Refusal
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.runtime import Runtime


class RoomHub(Hub):
    pass


async def test_connections_of_both_generations_count(settings: Any) -> None:
    settings.SIGNALR = {**getattr(settings, "SIGNALR", {}), "MAXIMUM_CONNECTIONS": 1}
    runtime = Runtime(asyncio.get_running_loop(), is_alone=True)
    runtime.check_room()
    admission = Admission(user=AnonymousUser(), user_identifier=None)
    scope = {"type": "http", "headers": [], "client": None}
    runtime.classic.open(ClassicMount("signalr", [RoomHub], {}), scope, admission, new_classic_token(None, ""))
    with pytest.raises(Refusal) as refused:
        runtime.check_room()
    assert (refused.value.status, refused.value.reason) == (503, CloseReason.CONNECTION_LIMIT)
