"""The lifetime manager of a hub that is served by several processes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence

from signalr_channels.backplane import names
from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import VERSION, Deliver, GroupCommand
from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import HubException
from signalr_channels.hubs.lifetime import Audience, AudienceKind, ConnectionIndex, HubLifetimeManager, SharedInvocation
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.messages import Invocation

__all__ = ["ChannelLayerHubLifetimeManager"]

logger = logging.getLogger("signalr_channels.backplane")


class ChannelLayerHubLifetimeManager(HubLifetimeManager):
    """
    One hub on a channel layer.

    Local connections are served at once, without the layer; other processes get one message per process.
    """

    def __init__(self, hub: str, relay: Relay, *, protocols: Sequence[HubProtocol], prefix: str, maximum_groups: int = 1000) -> None:
        """
        Args:
            hub: Dotted name of the hub.
            relay: This process on the layer.
            protocols: Every encoding the hub's clients may use, in any process.
            prefix: Start of all names in the layer.
            maximum_groups: How many groups one connection may be in.
        """
        self.index = ConnectionIndex(maximum_groups)
        self._hub = hub
        self._relay = relay
        self._protocols = protocols
        self._prefix = prefix
        self._everyone = names.everyone(prefix, hub)
        relay.register(hub, self._receive)

    # Connections

    def connect(self, connection: Connection) -> Awaitable[None] | None:
        """Take a connection in; the process joins the layer's groups it needs."""
        is_first = not self.index.connections
        is_first_of_user = self.index.add(connection)
        if is_first or is_first_of_user:
            return self._subscribe(is_first, connection.user_identifier if is_first_of_user else None)
        return None

    async def _subscribe(self, is_first: bool, user: str | None) -> None:
        if is_first:
            await self._relay.subscribe(self._everyone)
        if user is not None:
            await self._relay.subscribe(names.user(self._prefix, self._hub, user))

    async def disconnect(self, connection: Connection) -> None:
        """Let a connection go; the process leaves the layer's groups it needs no more."""
        user = connection.user_identifier
        if connection.connection_id not in self.index.connections:
            return
        emptied, was_last_of_user = self.index.remove(connection)
        for group in emptied:
            await self._relay.unsubscribe(names.group(self._prefix, self._hub, group))
        if was_last_of_user and user is not None:
            await self._relay.unsubscribe(names.user(self._prefix, self._hub, user))
        if not self.index.connections:
            await self._relay.unsubscribe(self._everyone)

    # Sending

    async def send(self, audience: Audience, message: Invocation) -> None:
        """Serve local connections, then tell the other processes."""
        shared = SharedInvocation(message)
        self.index.deliver(audience, shared.encoded)
        if audience.kind is AudienceKind.CONNECTIONS:
            elsewhere = tuple(name for name in audience.names if name not in self.index.connections)
            if elsewhere:
                await self._publish(self._everyone, Audience(audience.kind, elsewhere, audience.excluded), shared)
        elif audience.kind is AudienceKind.ALL:
            await self._publish(self._everyone, audience, shared)
        else:
            address_of = names.group if audience.kind is AudienceKind.GROUPS else names.user
            for name in audience.names:
                one = Audience(audience.kind, (name,), audience.excluded)
                await self._publish(address_of(self._prefix, self._hub, name), one, shared)

    async def _publish(self, address: str, audience: Audience, shared: SharedInvocation) -> None:
        payloads = {protocol.name: shared.encoded(protocol).data for protocol in self._protocols}

        def make(number: int) -> Deliver:
            return Deliver(
                v=VERSION, hub=self._hub, origin=self._relay.process, address=address, number=number, audience=audience, payloads=payloads
            )

        await self._relay.publish(address, make)

    # Groups

    async def add_to_group(self, connection_id: str, group: str) -> None:
        """Put a connection, of whatever process, into a group."""
        await self._change_group(connection_id, group, add=True)

    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """Take a connection, of whatever process, out of a group."""
        await self._change_group(connection_id, group, add=False)

    async def _change_group(self, connection_id: str, group: str, *, add: bool) -> None:
        if (connection := self.index.connections.get(connection_id)) is not None:
            await self._change_local_group(connection, group, add=add)
            return

        def make(reply_to: str, request_id: str) -> GroupCommand:
            return GroupCommand(
                v=VERSION, hub=self._hub, connection_id=connection_id, group=group, add=add, reply_to=reply_to, request_id=request_id
            )

        answer = await self._relay.command(self._everyone, make)
        if answer is None:
            logger.warning("No server process confirmed a change of the groups of connection %.64s: does it exist?", connection_id)
        elif answer.error:
            raise HubException(answer.error)

    async def _change_local_group(self, connection: Connection, group: str, *, add: bool) -> None:
        address = names.group(self._prefix, self._hub, group)
        if add:
            if self.index.join(connection, group):
                await self._relay.subscribe(address)
        elif self.index.leave(connection, group):
            await self._relay.unsubscribe(address)

    # From other processes

    def _receive(self, message: Deliver | GroupCommand) -> Awaitable[None] | None:
        if isinstance(message, GroupCommand):
            connection = self.index.connections.get(message.connection_id)
            return None if connection is None else self._obey(connection, message)
        encoded: dict[str, EncodedMessage[object]] = {}

        def encode(protocol: HubProtocol) -> EncodedMessage[object] | None:
            name = protocol.name
            if name not in encoded:
                if (data := message.payloads.get(name)) is None:
                    logger.error(
                        "%s sent nothing in the hub protocol %s: do all processes have the same HUB_PROTOCOLS?", message.origin, name
                    )
                    return None
                encoded[name] = EncodedMessage(data, protocol.transfer_format)
            return encoded[name]

        self.index.deliver(message.audience, encode)
        return None

    async def _obey(self, connection: Connection, command: GroupCommand) -> None:
        try:
            await self._change_local_group(connection, command.group, add=command.add)
        except HubException as error:
            await self._relay.answer(command, str(error))
        else:
            await self._relay.answer(command)
