# mypy: disable-error-code="import-untyped, misc"
# Channels has no type information.
"""
Stock Channels consumers that do no protocol work: ``/echo`` answers, ``/fan`` sends to one group.

Environment: ``BENCH_LAYER`` is ``memory`` (default), ``pubsub`` or ``core``; the last two need ``REDIS_URL``.
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

LAYERS = {
    "memory": "channels.layers.InMemoryChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
}


def channel_layer(name: str) -> dict[str, Any]:
    """The ``CHANNEL_LAYERS`` entry of one of `LAYERS`."""
    layer: dict[str, Any] = {"BACKEND": LAYERS[name]}
    if name != "memory":
        # redis-py 8 gives up reading after 5 s, the time the core layer blocks for; a longer timeout keeps idle consumers alive.
        layer["CONFIG"] = {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": 30}], "prefix": f"bench-channels-{name}"}
    return layer


settings.configure(CHANNEL_LAYERS={"default": channel_layer(os.environ.get("BENCH_LAYER", "memory"))}, SECRET_KEY="only for measuring")
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

GROUP = "bench"


class EchoConsumer(AsyncWebsocketConsumer):
    """Sends each message back."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data)


class FanConsumer(AsyncWebsocketConsumer):
    """Sends each message to every connection, through the channel layer."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(GROUP, {"type": "bench.message", "text": text_data})

    async def bench_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("echo", EchoConsumer.as_asgi()), path("fan", FanConsumer.as_asgi())])})
