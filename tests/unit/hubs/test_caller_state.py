"""The state of a classic client's proxy: what a call reads, and what of its changes goes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.hubs.caller_state import CallerState, ClassicCallerClients
from signalr_channels.hubs.lifetime import Audience, AudienceKind
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.messages import Invocation

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


# What a call reads and writes


def test_a_state_is_a_mapping_of_what_the_client_sent() -> None:
    state = CallerState({"n": 1, "N": 2, "deep": {"list": [1, None]}})
    assert dict(state) == {"n": 1, "N": 2, "deep": {"list": [1, None]}}
    assert state["N"] == 2  # names are case-sensitive
    assert state.get("gone") is None
    with pytest.raises(KeyError):
        state["gone"]
    assert len(state) == 3
    assert "n" in state
    assert repr(state) == "CallerState({'n': 1, 'N': 2, 'deep': {'list': [1, None]}})"
    assert state.changes() == {}


@pytest.mark.parametrize("sent", [None, {}])
def test_a_client_that_sent_nothing_has_an_empty_state_to_write_to(sent: Any) -> None:
    state = CallerState(sent)
    assert dict(state) == {}
    state["n"] = None
    assert state.changes() == {"n": None}


# What goes back


def test_what_differs_from_what_came_in_goes_back() -> None:
    state = CallerState({"a": 1, "b": 2, "c": [1]})
    state["a"] = 1
    state["b"] = 3
    state["c"] = [1]
    state["d"] = "new"
    assert state.changes() == {"b": 3, "d": "new"}


def test_a_value_that_was_changed_and_changed_back_does_not_go_back() -> None:
    state = CallerState({"a": 1})
    state["a"] = 2
    state["a"] = 1
    assert state.changes() == {}


def test_a_change_deep_inside_sends_the_whole_member() -> None:
    sent = {"a": {"list": [1, {"n": 1}]}, "b": [1]}
    state = CallerState(sent)
    state["a"]["list"][1]["n"] = 2
    assert state.changes() == {"a": {"list": [1, {"n": 2}]}}
    assert sent == {"a": {"list": [1, {"n": 1}]}, "b": [1]}
    del state["a"]["list"][1]
    state["b"].clear()
    assert state.changes() == {"a": {"list": [1]}, "b": []}


def test_a_member_that_was_taken_out_stays_with_the_client() -> None:
    # The client merges what comes back; nothing of the protocol takes a member away.
    state = CallerState({"a": 1, "b": 2})
    del state["a"]
    assert "a" not in state
    assert state.changes() == {}


@pytest.mark.parametrize(("before", "after"), [(1, True), (True, 1), (0, False), ([1], [True]), ({"a": 0}, {"a": False})])
def test_numbers_and_truth_values_differ_as_they_do_for_the_client(before: Any, after: Any) -> None:
    state = CallerState({"a": before})
    state["a"] = after
    changes = state.changes()
    assert repr(changes) == repr({"a": after})


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_what_is_only_read_never_goes_back(sent: dict[str, Any]) -> None:
    state = CallerState(sent)
    assert dict(state) == sent
    for name in tuple(state):
        state[name] = state[name]
    assert state.changes() == {}


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_a_client_that_merges_what_comes_back_has_what_the_call_had(sent: dict[str, Any], written: dict[str, Any]) -> None:
    state = CallerState(sent)
    state.update(written)
    assert {**sent, **state.changes()} == dict(state)


# Messages to the caller


class Sent:
    """A way to clients that notes what goes over it."""

    hub_name = "hub"

    def __init__(self) -> None:
        self.log: list[tuple[Audience, str, tuple[Any, ...]]] = []

    async def send(self, audience: Audience, message: Invocation) -> None:
        self.log.append((audience, message.target, tuple(message.arguments)))


class Call:
    """One call's clients, and what was sent in the three ways there are."""

    def __init__(self, values: dict[str, Any] | None, *, is_listed: bool = True) -> None:
        self.plain = Sent()
        self.with_state: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.is_listed = is_listed
        reach: Reach = self.plain  # type: ignore[assignment]
        self.clients = ClassicCallerClients(reach, "one", values, self._send_with_state)

    def _send_with_state(self, target: str, arguments: tuple[Any, ...], changes: dict[str, Any]) -> bool:
        self.with_state.append((target, arguments, changes))
        return True


async def test_a_message_to_the_caller_takes_the_changes_so_far_along() -> None:
    call = Call({"n": 1})
    await call.clients.caller.asend("before", 1)
    call.clients.caller_state["n"] = 2
    await call.clients.caller.asend("after", 1, "x")
    call.clients.caller_state["n"] = 1
    await call.clients.caller.asend("back")
    caller = Audience(AudienceKind.CONNECTIONS, ("one",))
    assert call.plain.log == [(caller, "before", (1,)), (caller, "back", ())]
    assert call.with_state == [("after", (1, "x"), {"n": 2})]


async def test_a_proxy_that_was_kept_takes_later_changes_along() -> None:
    call = Call(None)
    caller = call.clients.caller
    call.clients.caller_state["n"] = 2
    await caller.asend("after")
    assert call.with_state == [("after", (), {"n": 2})]


async def test_messages_to_others_take_no_state_along_whoever_they_reach() -> None:
    call = Call(None)
    clients = call.clients
    clients.caller_state["n"] = 2
    for proxy in (clients.all, clients.others, clients.client("one"), clients.group("lobby"), clients.user("ada")):
        await proxy.asend("hi")
    assert call.with_state == []
    assert len(call.plain.log) == 5


def test_a_state_that_nobody_looked_at_has_no_changes() -> None:
    call = Call({"n": 1})
    assert call.clients.changes() is None
    assert call.clients.caller_state is call.clients.caller_state
    assert call.clients.changes() is None
    call.clients.caller_state["m"] = 1
    assert call.clients.changes() == {"m": 1}
