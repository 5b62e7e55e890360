"""Generic hubs: arguments are converted to what the type variables stand for in the hub that clients call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import collect_hub_methods, hub_method

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Order:
    number: int


class StoreHub(Hub, Generic[T]):
    @hub_method
    async def put(self, item: T, others: list[T], maybe: T | None = None) -> T:
        return item

    @hub_method
    async def fill(self, items: AsyncIterator[T]) -> None: ...


class OrderHub(StoreHub[Order]): ...


class SpecialOrderHub(OrderHub): ...


class ListHub(StoreHub[list[T]], Generic[U, T]): ...


class NumbersHub(ListHub[str, int]): ...


class OpenHub(StoreHub[U]): ...


@pytest.mark.parametrize(
    ("hub", "item"), [(OrderHub, Order), (SpecialOrderHub, Order), (NumbersHub, list[int]), (StoreHub, T), (OpenHub, T), (ListHub, list[T])]
)
def test_type_variables_are_replaced_by_what_the_hub_says(hub: type[Hub], item: Any) -> None:
    methods = collect_hub_methods(hub)
    assert methods["put"].argument_types == (item, list[item], item | None)
    assert methods["put"].returns == item
    assert methods["fill"].item_types == (item,)


def test_a_class_that_is_named_only_leaves_the_variable_open() -> None:
    class LateHub(StoreHub["Late"]): ...

    class Late: ...

    assert collect_hub_methods(LateHub)["put"].argument_types[0] is T
