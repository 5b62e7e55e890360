"""
The loop that fans out inside one server process: ONE channel per process is the member of channel-layer groups, not one per connection.

Channel layers deliver at most once, drop what overflows, and forget a group's members ``group_expiry`` seconds after they joined.
So what is published is numbered, a gap is counted and logged, and memberships are renewed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Union

import msgspec
from channels.layers import ChannelFull

from signalr_channels.backplane.gaps import GapCounter
from signalr_channels.backplane.wire import (
    ANSWERS,
    PROCESS_MESSAGES,
    Answer,
    Attach,
    Claim,
    ClassicAttach,
    ClassicCall,
    ClientInvoke,
    CloseConnection,
    Deliver,
    Fetch,
    GroupCommand,
    Holding,
    HubQuestion,
    Leave,
    Post,
    RelayMessage,
    Seek,
    read,
    write,
)
from signalr_channels.exceptions import BackplaneUnavailable

__all__ = ["Conversation", "Relay"]

logger = logging.getLogger("signalr_channels.backplane")

REMEMBERED_ADDRESSES = 10_000
LONGEST_BACK_OFF = 5.0
STANDSTILL = 1.0
"""Seconds after its time at which a timeout is so late that this process must have stood still."""
LAYER_TIMEOUT = 5.0
"""Seconds the channel layer may take for one message: a Redis that accepts and does not answer would hold up its callers for good."""
DEFAULT_EXPIRY = 86_400.0

Question = Union[GroupCommand, ClientInvoke, CloseConnection, Seek, Claim, Holding, Post, Fetch, Leave, Attach, ClassicCall, ClassicAttach]
Handler = Callable[[Any], Awaitable[None] | None]


class Conversation:
    """
    The answers to one question.

    Attributes:
        reply_to: Channel they come on.
        request_id: What they are recognised by.
        close: Take no more of them.
    """

    __slots__ = ("_receive", "close", "reply_to", "request_id")

    def __init__(self, reply_to: str, request_id: str, receive: Callable[[], Awaitable[Any]], close: Callable[[], Any]) -> None:
        self.reply_to = reply_to
        self.request_id = request_id
        self._receive = receive
        self.close = close

    async def receive(self, timeout: float | None) -> Answer | None:
        """The next answer, or ``None`` if none comes in ``timeout`` seconds."""
        time = asyncio.get_running_loop().time
        started = time()
        try:
            data = await asyncio.wait_for(self._receive(), timeout)
        except asyncio.TimeoutError:
            if timeout is None or time() - started < timeout + STANDSTILL:
                return None
            # This process stood still, not the other one. What came meanwhile is about to be read.
            try:
                data = await asyncio.wait_for(self._receive(), STANDSTILL)
            except asyncio.TimeoutError:
                return None
        answer = read(data)
        return answer if isinstance(answer, ANSWERS) else None


class _Subscription:
    """One channel-layer group this process may be a member of."""

    __slots__ = ("is_joined", "lock", "users")

    def __init__(self) -> None:
        self.users = 0
        self.is_joined = False
        self.lock = asyncio.Lock()


class Relay:
    """
    This process on the channel layer.

    Without :meth:`start` it can publish, which is what Django code outside a server process needs.

    Attributes:
        process: Name of the server process.
        ack_timeout: Seconds another process may take to confirm a question.
        gaps: How many messages were lost on the way to this process.
        refused: How many messages could not be understood.
        is_available: Whether the channel layer answered last time.
    """

    def __init__(self, layer: Any, *, process: str, ack_timeout: float = 5.0, renewal_interval: float | None = None) -> None:
        """
        Args:
            layer: The channel layer.
            process: Name of this server process.
            ack_timeout: Seconds another process may take to confirm a command.
            renewal_interval: Seconds between renewals of memberships; ``None`` is a third of the layer's ``group_expiry``.
        """
        self._layer = layer
        self.process = process
        self.ack_timeout = ack_timeout
        self._renewal_interval = renewal_interval
        self._renewed_at: float | None = None
        self._needs_renewal = False
        self._channel: str | None = None
        self._starting = asyncio.Lock()
        self._receiver: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._subscriptions: dict[str, _Subscription] = {}
        self._handlers: dict[str, Handler] = {}
        self._waiting: dict[str, asyncio.Queue[Any]] = {}
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._seen = GapCounter()
        self.service: Handler | None = None
        """Takes messages to this process."""
        self.gaps = 0
        self.refused = 0
        self.is_available = True

    def register(self, hub: str, handler: Handler) -> None:
        """Hand messages for a hub to this."""
        self._handlers[hub] = handler

    # Publishing

    async def publish(self, address: str, make: Callable[[int], Deliver]) -> None:
        """
        Send to every process that is a member of ``address``.

        Raises:
            BackplaneUnavailable: The channel layer cannot be reached.
        """
        number = self._sent.pop(address, 0) + 1
        self._sent[address] = number
        if len(self._sent) > REMEMBERED_ADDRESSES:
            self._sent.popitem(last=False)
        await self._ask_layer(self._layer.group_send(address, write(make(number))))

    async def ask(self, address: str, make: Callable[[str, str], HubQuestion]) -> Conversation:
        """
        Send a question to every process that is a member of ``address``; the one it concerns answers.

        Args:
            address: Channel-layer group.
            make: Makes the question from the channel to answer on and the request id.

        Returns:
            What its answers are read from. Close it in the end.

        Raises:
            BackplaneUnavailable: The channel layer cannot be reached.
        """
        conversation = await self._open_conversation()
        try:
            await self._ask_layer(self._layer.group_send(address, write(make(conversation.reply_to, conversation.request_id))))
        except BackplaneUnavailable:
            conversation.close()
            raise
        return conversation

    async def _open_conversation(self) -> Conversation:
        request_id = uuid.uuid4().hex
        if self._channel is None:  # a process that only publishes
            channel = await self._ask_layer(self._layer.new_channel())
            return Conversation(channel, request_id, lambda: self._layer.receive(channel), lambda: self._give_back(channel))
        answers: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting[request_id] = answers
        return Conversation(self._channel, request_id, answers.get, lambda: self._waiting.pop(request_id, None))

    def _give_back(self, channel: str) -> None:
        """Let go of a channel that answers came on: the pub/sub layer subscribes to each, until a receiver of it is cancelled."""
        if channel in getattr(self._layer, "channels", ()):
            self._spawn(self._cancel_receiver(channel))

    async def _cancel_receiver(self, channel: str) -> None:
        receiving = asyncio.ensure_future(self._layer.receive(channel))
        await asyncio.sleep(0)  # so that it has begun
        receiving.cancel()
        await asyncio.wait([receiving])

    def answer_here(self, answer: Answer) -> None:
        """Answer a question of this process in place of the other one; nothing happens if answers are not taken any more."""
        if (answers := self._waiting.get(answer.request_id)) is not None:
            answers.put_nowait(write(answer))

    def is_awaited(self, request_id: str) -> bool:
        """Whether answers to a question of this process are still taken."""
        return request_id in self._waiting

    async def announce(self, address: str, message: RelayMessage) -> None:
        """
        Tell every process that is a member of ``address``. Nobody answers.

        Raises:
            BackplaneUnavailable: The channel layer cannot be reached.
        """
        await self._ask_layer(self._layer.group_send(address, write(message)))

    async def answer(self, question: Question, answer: Answer) -> None:
        """Answer a question."""
        await self.tell(question.reply_to, answer)

    async def tell(self, channel: str, message: RelayMessage) -> None:
        """
        Send to one process.

        Raises:
            BackplaneUnavailable: The channel layer cannot be reached.
        """
        await self._ask_layer(self._layer.send(channel, write(message)))

    async def ask_process(self, channel: str, make: Callable[[str, str], RelayMessage]) -> Conversation:
        """:meth:`ask` one process."""
        conversation = await self._open_conversation()
        try:
            await self.tell(channel, make(conversation.reply_to, conversation.request_id))
        except BackplaneUnavailable:
            conversation.close()
            raise
        return conversation

    @property
    def channel(self) -> str | None:
        """Channel of this process; ``None`` before :meth:`start`."""
        return self._channel

    async def _ask_layer(self, awaitable: Awaitable[Any]) -> Any:
        try:
            result = await asyncio.wait_for(awaitable, LAYER_TIMEOUT)
        except ChannelFull as error:  # that of one process, which does not read or is gone; the others are reached
            self._note_availability(True)
            raise BackplaneUnavailable(
                "A server process takes no more messages: its channel is full (CHANNEL_LAYERS, capacity)."
            ) from error
        except Exception as error:
            self._note_availability(False, error)
            text = f"The channel layer (CHANNEL_LAYERS) could not be reached: {describe(error)}"
            raise BackplaneUnavailable(text) from error
        self._note_availability(True)
        return result

    def _note_availability(self, is_available: bool, error: Exception | None = None) -> None:
        if is_available != self.is_available:
            self.is_available = is_available
            if is_available:
                logger.info("The channel layer answers again")
            else:
                self._needs_renewal = True  # it may come back without its memory
                logger.warning("The channel layer (CHANNEL_LAYERS) does not answer: %s", describe(error))

    # Membership

    def hold(self, address: str) -> None:
        """Count one more that needs a channel-layer group; matched by :meth:`release`. :meth:`settle` it afterwards."""
        self._subscriptions.setdefault(address, _Subscription()).users += 1

    def release(self, address: str) -> None:
        """Count one less. :meth:`settle` it afterwards."""
        self._subscriptions[address].users -= 1

    def is_member(self, address: str) -> bool:
        """Whether messages to a channel-layer group come here, or will as soon as the layer answers again."""
        subscription = self._subscriptions.get(address)
        return subscription is not None and (subscription.is_joined or self._needs_renewal)

    async def settle(self, address: str) -> None:
        """Join or leave a channel-layer group, whichever its count asks for by now; wait for another who is at it."""
        subscription = self._subscriptions.get(address)
        if subscription is None:
            return
        if not self.is_available and not subscription.users and subscription.is_joined:
            self._needs_renewal = True  # it is left as soon as the layer answers: an end does not wait for that, group by group
            return
        await self._settle(address, subscription)

    async def _settle(self, address: str, subscription: _Subscription) -> None:
        async with subscription.lock:
            if subscription.users and not subscription.is_joined:
                await self._join(address, subscription)
            elif not subscription.users and subscription.is_joined:
                subscription.is_joined = False
                self._seen.forget(address)
                if not await self._leave(address):
                    subscription.is_joined = self._needs_renewal = True  # tried again as soon as the layer answers
                    return
            # Kept while it is being left, so that one who needs it meanwhile waits, and joins after.
            if not subscription.users and self._subscriptions.get(address) is subscription:
                del self._subscriptions[address]

    async def _join(self, address: str, subscription: _Subscription) -> None:
        """Join now, or as soon as the channel layer answers again: local delivery goes on meanwhile."""
        try:
            await self.start()
            await self._ask_layer(self._layer.group_add(address, self._channel))
        except BackplaneUnavailable:
            self._needs_renewal = True
        else:
            subscription.is_joined = True

    async def _leave(self, address: str) -> bool:
        """Leave. False if the channel layer cannot be told; it keeps this process as a member until it is, or until ``group_expiry``."""
        try:
            await self._ask_layer(self._layer.group_discard(address, self._channel))
        except BackplaneUnavailable:
            return False
        return True

    def tick(self, now: float) -> None:
        """Renew memberships when it is time, and count what was lost. Called by the heartbeat."""
        for loss in self._seen.tick():
            self.gaps += loss.count
            logger.warning(
                "%d messages from %s to %s were lost by the channel layer; is its capacity large enough?", loss.count, loss.origin, loss.hub
            )
        if self._renewed_at is None:
            self._renewed_at = now
        elif self._needs_renewal or now - self._renewed_at >= self._interval():
            self._needs_renewal = False
            self._renewed_at = now
            self._spawn(self._renew())

    def _interval(self) -> float:
        if self._renewal_interval is None:
            # Asked for here, in the loop: the pub/sub layer of channels_redis has no attributes elsewhere.
            self._renewal_interval = getattr(self._layer, "group_expiry", DEFAULT_EXPIRY) / 3
        return self._renewal_interval

    async def _renew(self) -> None:
        """Join every group again: a member is forgotten a fixed time after it joined."""
        for address, subscription in tuple(self._subscriptions.items()):
            if subscription.users:
                async with subscription.lock:
                    await self._join(address, subscription)
            if not self._needs_renewal:
                await self._settle(address, subscription)  # it may have lost its last user meanwhile
            if self._needs_renewal:  # no use in asking for the others
                return

    # Receiving

    async def start(self) -> str:
        """
        Take a channel and listen on it.

        Returns:
            The channel.

        Raises:
            BackplaneUnavailable: The channel layer cannot be reached.
        """
        if self._channel is None:
            async with self._starting:
                if self._channel is None:
                    self._channel = str(await self._ask_layer(self._layer.new_channel()))
                    self._receiver = asyncio.get_running_loop().create_task(self._receive(), name="signalr relay")
        return self._channel

    async def stop(self) -> None:
        """Leave every group and stop listening."""
        tasks = [task for task in (self._receiver, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._receiver = None
        for address in tuple(self._subscriptions):
            subscription = self._subscriptions.pop(address)
            if subscription.is_joined and self.is_available:
                await self._leave(address)

    async def _receive(self) -> None:
        failures = 0
        while True:
            try:
                data = await self._layer.receive(self._channel)
            except Exception as error:
                self._note_availability(False, error)
                failures += 1
                # With jitter, so that processes do not come back in step.
                await asyncio.sleep(min(LONGEST_BACK_OFF, 0.1 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311
                continue
            if failures:
                failures = 0
                self._note_availability(True)
            self._dispatch(data)

    def _dispatch(self, data: Any) -> None:
        try:
            message = read(data)
        except msgspec.ValidationError as error:
            self.refused += 1
            logger.warning("A message on the channel layer was refused: %s", error)
            return
        if isinstance(message, ANSWERS):
            if (answers := self._waiting.get(message.request_id)) is not None:
                answers.put_nowait(data)
            return
        if isinstance(message, Deliver):
            if message.origin == self.process:
                return
            if (subscription := self._subscriptions.get(message.address)) is not None and subscription.is_joined:
                self._seen.note(message.address, message.origin, message.hub, message.number)
        if isinstance(message, PROCESS_MESSAGES):
            self._hand_over(self.service, message, "this process")
        else:
            self._hand_over(self._handlers.get(message.hub), message, f"the hub {message.hub:.200}")

    def _hand_over(self, handler: Handler | None, message: RelayMessage, what: str) -> None:
        if handler is None:
            self.refused += 1
            logger.warning("A message for %s, which is not served here, was refused", what)
            return
        try:
            awaitable = handler(message)
        except Exception:
            logger.exception("A message for %s could not be handled", what)
            return
        if awaitable is not None:
            self._spawn(_as_coroutine(awaitable))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Work for the channel layer failed", exc_info=error)


def describe(error: BaseException | None) -> str:
    """The kind of an error and its text; of a timeout, which has none, how long it was waited for."""
    text = f"nothing for {LAYER_TIMEOUT:g} s" if isinstance(error, asyncio.TimeoutError) and not str(error) else str(error)
    return f"{type(error).__name__}: {text}"


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable
