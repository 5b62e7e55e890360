"""What is wrong with a class is told when it is mapped: a server without system checks does not start with it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.test import override_settings

from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import HubDefinitionError, NotLoadable
from signalr_channels.hubs.connection_handler import ConnectionHandler
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.routing import map_classic_hubs, map_connection_handler, map_hub, map_persistent_connection
from signalr_channels.testing import HubCommunicator, HubInvocationError
from tests.tasks import no_task_left

__all__ = ["no_task_left"]

STAFF = "signalr_channels.hubs.permissions.IsStaff"


class OfficeHub(Hub):
    @hub_method(permission_classes=[STAFF])
    async def hire(self, name: str) -> str:
        return f"{name} is hired"


def hub(**attributes: Any) -> type[Hub]:
    # Their module is none that the system checks of other tests would look for by name.
    return type("ChatHub", (Hub,), {"__module__": "chat.hubs", "__qualname__": "mistaken.<locals>.ChatHub", **attributes})


async def no_argument(self: Any) -> None: ...


def needs(self: Any, room: str) -> None: ...


def core(cls: type[Hub]) -> Any:
    return map_hub("hubs/chat", cls)


def classic(cls: type[Hub]) -> Any:
    return map_classic_hubs("signalr", [cls])


@pytest.mark.parametrize("mapped", [core, classic])
@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"__init__": needs}, r"ChatHub\.__init__: instances are made with no arguments"),
        ({"on_disconnected": no_argument}, r"ChatHub\.on_disconnected.*write async def on_disconnected\(self, disconnect\)"),
        ({"clients": hub_method(no_argument)}, r"ChatHub\.clients: every hub has"),
    ],
)
def test_a_hub_that_cannot_work_is_not_mapped(mapped: Callable[[type[Hub]], Any], attributes: dict[str, Any], text: str) -> None:
    with pytest.raises(HubDefinitionError, match=text):
        mapped(hub(**attributes))


def test_nor_is_a_connection_without_a_hub() -> None:
    deaf = type("DeafHandler", (ConnectionHandler,), {"on_connected": no_argument})
    with pytest.raises(HubDefinitionError, match=r"DeafHandler\.on_connected.*write async def on_connected\(self, connection\)"):
        map_connection_handler("raw", deaf)
    silent = type("DeafConnection", (PersistentConnection,), {"on_received": no_argument})
    with pytest.raises(HubDefinitionError, match=r"DeafConnection\.on_received.*write async def on_received\(self, data\)"):
        map_persistent_connection("raw", silent)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"HUB_FILTERS": ["nope.X"]}, r"map_hub\('hubs/chat'\): HUB_FILTERS: cannot import 'nope\.X': No module named 'nope'\."),
        ({"USER_IDENTIFIER": "nope.f"}, r"map_hub\('hubs/chat'\): USER_IDENTIFIER: cannot import 'nope\.f': No module named 'nope'\."),
    ],
)
def test_what_a_path_names_has_to_be_there(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(NotLoadable, match=f"^{text}$"):
        map_hub("hubs/chat", OfficeHub, **settings)
    map_hub("hubs/chat", OfficeHub, HUB_FILTERS=["signalr_channels.hubs.filters.HubFilter"], USER_IDENTIFIER="builtins.str")


@override_settings(SIGNALR={"HISTORY": False})
@pytest.mark.parametrize(("is_staff", "answer"), [(True, "Ann is hired"), (False, None)])
async def test_a_permission_class_of_a_method_may_be_a_dotted_name(is_staff: bool, answer: str | None, no_task_left: None) -> None:
    user = SimpleNamespace(is_authenticated=True, is_active=True, is_staff=is_staff, pk=1)
    async with HubCommunicator(OfficeHub, user=user) as client:
        if answer is not None:
            assert await client.ainvoke("Hire", "Ann") == answer
            return
        with pytest.raises(HubInvocationError, match="unauthorized"):
            await client.ainvoke("Hire", "Ann")


class SiteFilter(HubFilter): ...


class HubsOwnFilter(HubFilter): ...


class PathFilter(HubFilter): ...


@override_settings(SIGNALR={"HUB_FILTERS": [SiteFilter]})
def test_filters_of_a_path_come_after_the_others() -> None:
    class FilteredHub(Hub):
        settings: ClassVar[dict[str, Any]] = {"HUB_FILTERS": [HubsOwnFilter]}

    def classes(**settings: Any) -> list[type[HubFilter]]:
        return [type(one) for one in HubEndpoint("hubs/chat", FilteredHub, settings).filters()]

    assert classes() == classes(KEEP_ALIVE_INTERVAL=10) == [SiteFilter, HubsOwnFilter]
    assert classes(HUB_FILTERS=[PathFilter]) == [SiteFilter, HubsOwnFilter, PathFilter]
