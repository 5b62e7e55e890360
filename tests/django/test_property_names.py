"""The setting ``PROPERTY_NAMES``, from the setting to the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings

from signalr_channels import Hub, get_hub_context, hub_method
from signalr_channels.checks import check_hubs
from signalr_channels.conf import get_settings, hub_settings
from signalr_channels.endpoints import PROTOCOLS, hub_protocols
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.routing import map_hub
from signalr_channels.testing import HubCommunicator, upload

CAMEL_CASE = {"PROPERTY_NAMES": "camel_case"}


@dataclass
class Line:
    line_text: str
    line_count: int = 1


@dataclass
class Order:
    order_id: int
    order_lines: list[Line]


class PlainHub(Hub):
    @hub_method
    async def place(self, order: Order) -> Order:
        await self.clients.all.asend("orderPlaced", order)
        return order

    @hub_method
    async def lines(self, order: Order) -> AsyncIterator[Line]:
        for line in order.order_lines:
            yield line

    @hub_method
    async def count(self, lines: AsyncIterator[Line]) -> int:
        return sum([line.line_count async for line in lines])

    @hub_method
    async def ask(self) -> str:
        line: Line = await self.clients.caller.ainvoke("nextLine", Line("x"), result_type=Line)
        return line.line_text


class CamelCaseHub(PlainHub):
    settings = CAMEL_CASE


ORDER = {"orderId": 1, "orderLines": [{"lineText": "tea", "lineCount": 2}]}
ORDER_AS_WRITTEN = {"order_id": 1, "order_lines": [{"line_text": "tea", "line_count": 2}]}


@pytest.mark.parametrize("sent", [ORDER, ORDER_AS_WRITTEN, {"ORDERID": 1, "Order_Lines": ORDER["orderLines"]}])
async def test_a_hub_with_camel_case(sent: Any) -> None:
    async with HubCommunicator(CamelCaseHub) as client:
        assert await client.ainvoke("Place", sent) == ORDER
        assert await client.receive("orderPlaced") == [ORDER]
        assert [line async for line in client.astream("Lines", sent)] == ORDER["orderLines"]
        assert await client.ainvoke("Count", upload([{"lineText": "a"}, {"line_text": "b", "LineCount": 5}])) == 6
        client.on("nextLine", lambda line: {"lineText": line["lineText"] + "!"})
        assert await client.ainvoke("Ask") == "x!"
        await get_hub_context(CamelCaseHub).clients.all.asend("news", Order(2, []), {"some_key": Line("a")})
        assert await client.receive("news") == [{"orderId": 2, "orderLines": []}, {"some_key": {"lineText": "a", "lineCount": 1}}]


async def test_messagepack_has_names_as_written() -> None:
    async with HubCommunicator(CamelCaseHub) as one, HubCommunicator(CamelCaseHub, protocol="messagepack") as other:
        assert await other.ainvoke("Place", ORDER_AS_WRITTEN) == ORDER_AS_WRITTEN
        assert await other.receive("orderPlaced") == [ORDER_AS_WRITTEN]
        assert await one.receive("orderPlaced") == [ORDER]


async def test_names_as_written_are_the_default() -> None:
    async with HubCommunicator(PlainHub) as client:
        assert await client.ainvoke("Place", ORDER_AS_WRITTEN) == ORDER_AS_WRITTEN
        await client.asend("Place", ORDER)  # no order at all
        assert await client.receive("orderPlaced") == [ORDER_AS_WRITTEN]
        assert await client.nothing_received()


@override_settings(SIGNALR=CAMEL_CASE)
async def test_for_the_whole_project() -> None:
    async with HubCommunicator(PlainHub) as client:
        assert await client.ainvoke("Place", ORDER, result_type=Order) == Order(1, [Line("tea", 2)])


def test_the_default_path_is_the_one_there_was() -> None:
    """Not a slower one with a condition in it."""
    assert hub_protocols(get_settings()) == tuple(PROTOCOLS.values())
    assert hub_protocols(hub_settings(CamelCaseHub))[0] is hub_protocols(hub_settings(CamelCaseHub))[0]
    assert hub_protocols(hub_settings(CamelCaseHub))[1] is PROTOCOLS["messagepack"]


def test_paths_of_one_hub_cannot_differ() -> None:
    """Their clients get the same broadcasts, which are encoded once."""
    with pytest.raises(HubDefinitionError, match="PROPERTY_NAMES is the same at all paths of a hub"):
        map_hub("somewhere", PlainHub, PROPERTY_NAMES="camel_case")


def test_a_hub_whose_names_collide_fails_its_check() -> None:
    @dataclass
    class Twins:
        order_id: int
        orderId: int  # noqa: N815 - that is the point

    class TwinsHub(Hub):
        settings = CAMEL_CASE

        @hub_method
        async def take(self, twins: Twins) -> None: ...

    TwinsHub.take.__annotations__["twins"] = Twins
    messages = [message.msg for message in check_hubs() if message.obj is TwinsHub]
    assert len(messages) == 1
    assert "order_id and orderId are the same name where case does not matter (PROPERTY_NAMES)" in messages[0]
    TwinsHub.take = None  # type: ignore[assignment,method-assign]
