"""
The chat's hub: rooms, who is in them, and what they say. Clients of both generations use it side by side.

Pages (``static/chat/room.js``) listen for::

    messageReceived(name, text, sentAt, connectionId)    the last two only if a person wrote it
    personJoined(person)   personLeft(person)   personTyping(person)
    roomsChanged()                                       ask for the rooms again
"""

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils import timezone

from demo_project.chat.models import Person, Presence, Room, check_room_name
from signalr_channels import Disconnect, Hub, HubException, hub_method

LONGEST_MESSAGE = 500
LONGEST_NICKNAME = 30


@dataclass(frozen=True)
class Welcome:
    """What those who enter a room are told."""

    people: list[Person]
    transport: str


class ChatHub(Hub):
    async def on_reconnected(self) -> None:
        """A classic client is back, maybe from another server process. Then nothing is known of it here but what that one wrote down."""
        mine = Presence.objects.filter(connection_id=self.context.connection_id)
        await mine.aupdate(seen_at=timezone.now())
        async for presence in mine.order_by("pk"):
            self.context.items[presence.room] = presence.person
            await self.groups.aadd(presence.connection_id, presence.room)

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        for room in tuple(self.context.items):
            await self.forget(room)

    @hub_method
    async def join_room(self, room: str, nickname: str = "") -> Welcome:
        try:
            check_room_name(room)
        except ValidationError as error:
            raise HubException(error.message) from error
        me = self.introduce(nickname)
        await self.groups.aadd(me.id, room)  # refuses more than MAXIMUM_GROUPS_PER_CONNECTION
        self.context.items[room] = me
        about_me = {"name": me.name, "is_user": me.is_user, "is_classic": me.is_classic}
        await Presence.objects.aupdate_or_create(connection_id=me.id, room=room, defaults=about_me)
        await self.clients.others_in_group(room).asend("personJoined", me)
        await self.clients.all.asend("roomsChanged")
        return Welcome(await Presence.objects.filter(room=room).apeople(), self.context.transport)

    @hub_method
    async def leave_room(self, room: str) -> None:
        await self.groups.aremove(self.context.connection_id, room)
        await self.forget(room)

    @hub_method
    async def send_message(self, room: str, text: str) -> None:
        me = self.me_in(room)
        if not text.strip():
            raise HubException("A message needs text.")  # this sentence reaches the client
        if len(text) > LONGEST_MESSAGE:
            raise HubException(f"A message has at most {LONGEST_MESSAGE} characters; this one has {len(text)}.")
        await self.clients.group(room).asend("messageReceived", me.name, text, timezone.now(), me.id)

    @hub_method
    async def typing(self, room: str) -> None:
        await self.clients.others_in_group(room).asend("personTyping", self.me_in(room))

    @hub_method
    async def rooms(self) -> list[Room]:
        return await Presence.objects.arooms()

    def introduce(self, nickname: str) -> Person:
        """The caller: users have their name, everybody else takes one."""
        is_classic = self.context.hub_protocol == "classic"
        if self.context.user.is_authenticated:
            return Person(self.context.connection_id, self.context.user.get_username(), is_user=True, is_classic=is_classic)
        name = " ".join(nickname.split())
        if not 0 < len(name) <= LONGEST_NICKNAME or not name.isprintable():
            raise HubException(f"A nickname has 1 to {LONGEST_NICKNAME} characters.")
        return Person(self.context.connection_id, name, is_user=False, is_classic=is_classic)

    def me_in(self, room: str) -> Person:
        """The caller, who must be in the room."""
        me: Person | None = self.context.items.get(room)
        if me is None:
            raise HubException("You are not in this room.")
        return me

    async def forget(self, room: str) -> None:
        """The caller is no longer in the room."""
        if me := self.context.items.pop(room, None):
            await Presence.objects.filter(connection_id=me.id, room=room).adelete()
            await self.clients.group(room).asend("personLeft", me)
            await self.clients.all.asend("roomsChanged")
