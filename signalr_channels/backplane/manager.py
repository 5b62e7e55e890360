"""The lifetime manager of a hub that is served by several processes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from signalr_channels.backplane import names
from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import (
    VERSION,
    Ack,
    Answer,
    ClientAnswer,
    ClientInvoke,
    CloseConnection,
    Deliver,
    GroupCommand,
    HubQuestion,
    Leaving,
    Seek,
    Taken,
)
from signalr_channels.exceptions import ConnectionClosed, HubException
from signalr_channels.hubs.client_results import ClientResults
from signalr_channels.hubs.lifetime import Audience, AudienceKind, ConnectionIndex, HubLifetimeManager, Receiver, SharedInvocation
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.classic.hub_protocol import NO_CLIENT_RESULTS, ClassicHubProtocol
from signalr_channels.protocols.messages import NO_RESULT, Completion, Invocation

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
        self.client_results = ClientResults()
        self._hub = hub
        self._relay = relay
        self._protocols = protocols
        self._prefix = prefix
        self._everyone = names.everyone(prefix, hub)
        relay.register(hub, self._receive)

    # Connections

    def connect(self, connection: Receiver) -> Awaitable[None] | None:
        """Take a connection in; the process joins the layer's groups it needs."""
        is_first = not self.index.connections
        is_first_of_user = self.index.add(connection)
        needed = [self._everyone]
        if is_first:
            self._relay.hold(self._everyone)
        if connection.user_identifier is not None:
            needed.append(names.user(self._prefix, self._hub, connection.user_identifier))
            if is_first_of_user:
                self._relay.hold(needed[-1])
        missing = [address for address in needed if not self._relay.is_member(address)]
        return self._settle(missing) if missing else None

    async def _settle(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            await self._relay.settle(address)

    async def disconnect(self, connection: Receiver) -> None:
        """Let a connection go; the process leaves the layer's groups it needs no more."""
        user = connection.user_identifier
        if self.index.find(connection.connection_id) is not connection and not connection.groups:
            return
        was_member = self.index.connections.get(connection.connection_id) is connection
        emptied, was_last_of_user = self.index.remove(connection)
        unneeded = [names.group(self._prefix, self._hub, group) for group in emptied]
        if was_last_of_user and user is not None:
            unneeded.append(names.user(self._prefix, self._hub, user))
        if was_member and not self.index.connections:
            unneeded.append(self._everyone)
        for address in unneeded:
            self._relay.release(address)
        await self._settle(unneeded)

    # Sending

    async def send(self, audience: Audience, message: Invocation) -> None:
        """Serve local connections, then tell the other processes."""
        shared = SharedInvocation(message)
        self.index.deliver(audience, shared.encoded)
        await self.give_way(shared)
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

    # Client results

    async def invoke(self, connection_id: str, target: str, arguments: Sequence[Any]) -> tuple[HubProtocol, Completion]:
        """Call a client method of one connection, of whatever process, and wait for its answer."""
        connection = self.index.connections.get(connection_id)
        if connection is not None:
            return await self.invoke_local(connection, target, arguments)
        invocation_id = f"s{uuid.uuid4().hex}"
        shared = SharedInvocation(Invocation(target=target, arguments=arguments, invocation_id=invocation_id))
        payloads = {protocol.name: shared.encoded(protocol).data for protocol in self._protocols}

        def make(reply_to: str, request_id: str) -> ClientInvoke:
            return ClientInvoke(
                v=VERSION,
                hub=self._hub,
                connection_id=connection_id,
                invocation_id=invocation_id,
                payloads=payloads,
                reply_to=reply_to,
                request_id=request_id,
            )

        conversation = await self._relay.ask(self._everyone, make)
        try:
            answer = await conversation.receive(self._relay.ack_timeout)
            if isinstance(answer, Ack):  # its owner has asked it
                answer = await conversation.receive(None)
        finally:
            conversation.close()
        if not isinstance(answer, ClientAnswer):
            raise ConnectionClosed(f"Connection '{connection_id}' does not exist.")
        if answer.is_lost:
            raise ConnectionClosed(answer.error or "")
        return self._read_answer(answer, invocation_id)

    def _read_answer(self, answer: ClientAnswer, invocation_id: str) -> tuple[HubProtocol, Completion]:
        protocol = next(protocol for protocol in self._protocols if protocol.name == answer.protocol)
        result = NO_RESULT if answer.result is None else msgspec.Raw(answer.result)
        return protocol, Completion(invocation_id=invocation_id, result=result, error=answer.error)

    # Groups

    async def add_to_group(self, connection_id: str, group: str) -> None:
        """Put a connection, of whatever process, into a group."""
        await self._change_group(connection_id, group, add=True)

    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """Take a connection, of whatever process, out of a group."""
        await self._change_group(connection_id, group, add=False)

    async def _change_group(self, connection_id: str, group: str, *, add: bool) -> None:
        if (connection := self.index.find(connection_id)) is not None:
            await self._change_local_group(connection, group, add=add)
            return

        def make(reply_to: str, request_id: str) -> GroupCommand:
            return GroupCommand(
                v=VERSION, hub=self._hub, connection_id=connection_id, group=group, add=add, reply_to=reply_to, request_id=request_id
            )

        answer = await self._ask_owner(make)
        if answer is None:
            logger.warning("No server process confirmed a change of the groups of connection %.64s: does it exist?", connection_id)
        elif isinstance(answer, Ack) and answer.error:
            raise HubException(answer.error)

    async def _change_local_group(self, connection: Receiver, group: str, *, add: bool) -> None:
        address = names.group(self._prefix, self._hub, group)
        if add:
            if self.index.join(connection, group):
                self._relay.hold(address)
            if not self._relay.is_member(address):
                await self._relay.settle(address)
        elif self.index.leave(connection, group):
            self._relay.release(address)
            await self._relay.settle(address)

    # The end of a connection

    async def close(self, connection_id: str, error: str | None, *, allow_reconnect: bool, closed_by: str = "") -> bool:
        """End a connection, of whatever process."""
        if (connection := self.index.connections.get(connection_id)) is not None:
            self.close_local(connection, error, allow_reconnect=allow_reconnect, closed_by=closed_by)
            return True

        def make(reply_to: str, request_id: str) -> CloseConnection:
            return CloseConnection(
                v=VERSION,
                hub=self._hub,
                connection_id=connection_id,
                error=error,
                allow_reconnect=allow_reconnect,
                closed_by=closed_by,
                reply_to=reply_to,
                request_id=request_id,
            )

        return await self._ask_owner(make) is not None

    async def _ask_owner(self, make: Callable[[str, str], HubQuestion]) -> Answer | None:
        """The answer of the process that has the connection of a question, or ``None`` if none has it."""
        conversation = await self._relay.ask(self._everyone, make)
        try:
            return await conversation.receive(self._relay.ack_timeout)
        finally:
            conversation.close()

    # From other processes

    def _receive(self, message: Deliver | HubQuestion) -> Awaitable[None] | None:
        if isinstance(message, (Seek, Leaving, Taken)):
            return None
        if not isinstance(message, Deliver):
            connection = self.index.find(message.connection_id)
            if connection is None:
                return None
            if isinstance(message, GroupCommand):
                return self._obey(connection, message)
            if isinstance(message, CloseConnection):
                return self._close_for(connection, message)
            return self._ask_client(connection, message)
        encoded: dict[str, EncodedMessage] = {}

        def encode(protocol: HubProtocol) -> EncodedMessage | None:
            name = protocol.name
            if name not in encoded:
                data = message.payloads.get(name)
                if data is None and isinstance(protocol, ClassicHubProtocol) and (json := message.payloads.get("json")) is not None:
                    data = protocol.transcode(json)
                if data is None:
                    logger.error(
                        "%s sent nothing in the hub protocol %s: do all processes have the same HUB_PROTOCOLS?", message.origin, name
                    )
                    return None
                encoded[name] = EncodedMessage(data, protocol.transfer_format)
            return encoded[name]

        self.index.deliver(message.audience, encode)
        return None

    async def _obey(self, connection: Receiver, command: GroupCommand) -> None:
        try:
            await self._change_local_group(connection, command.group, add=command.add)
        except HubException as error:
            await self._relay.answer(command, Ack(v=VERSION, request_id=command.request_id, error=str(error)))
        else:
            await self._relay.answer(command, Ack(v=VERSION, request_id=command.request_id))

    async def _close_for(self, connection: Receiver, question: CloseConnection) -> None:
        """End one of our connections on behalf of another process."""
        self.close_local(connection, question.error, allow_reconnect=question.allow_reconnect, closed_by=question.closed_by)
        await self._relay.answer(question, Ack(v=VERSION, request_id=question.request_id))

    async def _ask_client(self, connection: Receiver, question: ClientInvoke) -> None:
        """Ask one of our connections on behalf of another process."""
        protocol = connection.hub_protocol
        assert protocol is not None
        if isinstance(protocol, ClassicHubProtocol):
            name = self._protocols[0].name  # nothing is encoded in it
            refusal = ClientAnswer(v=VERSION, request_id=question.request_id, protocol=name, error=NO_CLIENT_RESULTS)
            await self._relay.answer(question, refusal)
            return
        if (data := question.payloads.get(protocol.name)) is None:
            logger.error("A question in the hub protocol %s came without it: do all processes have the same HUB_PROTOCOLS?", protocol.name)
            return
        answer = self.client_results.ask(connection.connection_id, question.invocation_id)
        try:
            if connection.is_closed:
                raise ConnectionClosed(f"Connection '{connection.connection_id}' disconnected.")
            connection.enqueue(EncodedMessage(data, protocol.transfer_format))
            await self._relay.answer(question, Ack(v=VERSION, request_id=question.request_id))
            await self._relay.answer(question, _describe(await answer, question, protocol))
        except ConnectionClosed as error:
            lost = ClientAnswer(v=VERSION, request_id=question.request_id, protocol=protocol.name, error=str(error), is_lost=True)
            await self._relay.answer(question, lost)
        finally:
            self.client_results.forget(question.invocation_id)


def _describe(completion: Completion, question: ClientInvoke, protocol: HubProtocol) -> ClientAnswer:
    result = None if completion.result is NO_RESULT else bytes(completion.result)
    return ClientAnswer(v=VERSION, request_id=question.request_id, protocol=protocol.name, result=result, error=completion.error)
