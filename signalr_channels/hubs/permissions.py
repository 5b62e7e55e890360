"""Who may connect to a hub, and who may call a hub method."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

from signalr_channels.exceptions import InvocationNotPermitted

__all__ = ["HubPermission", "IsAuthenticated", "IsStaff", "PermissionRequest", "check_invocation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRequest:
    """What a permission class decides on."""

    user: Any
    """The Django user; ``AnonymousUser`` for nobody."""
    hub: type
    """The hub class."""
    method: str | None = None
    """Declared name of the hub method, or ``None`` for a request to connect."""
    arguments: Sequence[Any] = field(default=())
    """The call's arguments, converted to the annotations."""


class HubPermission:
    """Base of permission classes. ``has_permission`` may be ``def`` (it must not block) or ``async def``."""

    def has_permission(self, request: PermissionRequest) -> bool | Awaitable[bool]:
        """Whether the user may do this."""
        raise TypeError(f"{type(self).__qualname__} has no has_permission()")


class IsAuthenticated(HubPermission):
    """Any logged-in user."""

    def has_permission(self, request: PermissionRequest) -> bool:
        """Whether there is a user."""
        return bool(getattr(request.user, "is_authenticated", False))


class IsStaff(HubPermission):
    """Users who may use the admin."""

    def has_permission(self, request: PermissionRequest) -> bool:
        """Whether the user is active staff."""
        return bool(getattr(request.user, "is_staff", False) and getattr(request.user, "is_active", False))


async def is_permitted(permission_classes: Sequence[type[HubPermission]], request: PermissionRequest) -> bool:
    """Whether every one of the classes says yes."""
    for permission_class in permission_classes:
        answer = permission_class().has_permission(request)
        if not isinstance(answer, bool):
            answer = await answer
        if not answer:
            return False
    return True


async def check_invocation(
    permission_classes: Sequence[type[HubPermission]], *, user: Any, hub: type, method: str, arguments: Sequence[Any]
) -> None:
    """
    Ask permission classes about a call; see :class:`PermissionRequest`.

    Raises:
        InvocationNotPermitted: One of them says no.
    """
    if not await is_permitted(permission_classes, PermissionRequest(user=user, hub=hub, method=method, arguments=arguments)):
        raise InvocationNotPermitted(method)
