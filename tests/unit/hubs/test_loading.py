"""Classes and functions given by name: what cannot be loaded is told with the place of the name."""

from __future__ import annotations

from typing import Any

import pytest

from signalr_channels.exceptions import HubDefinitionError, NotLoadable
from signalr_channels.hubs.loading import load_classes, load_function
from signalr_channels.hubs.permissions import HubPermission, IsAuthenticated, IsStaff

STAFF = "signalr_channels.hubs.permissions.IsStaff"


class NeedsRole(HubPermission):
    def __init__(self, role: str) -> None: ...


@pytest.mark.parametrize("entries", [[STAFF, IsAuthenticated], (IsStaff, IsAuthenticated)])
def test_classes_may_be_given_by_name_or_as_such(entries: Any) -> None:
    assert load_classes(entries, HubPermission, "X") == (IsStaff, IsAuthenticated)
    assert load_classes([], HubPermission, "X") == ()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (["nowhere.IsNice"], "X: cannot import 'nowhere.IsNice': No module named 'nowhere'."),
        ([f"{STAFF}x"], f"X: cannot import '{STAFF}x': module 'signalr_channels.hubs.permissions' has no attribute 'IsStaffx'."),
        (["IsStaff"], "X: 'IsStaff' is no dotted name."),
        ([""], "X: '' is no dotted name."),
        ([".permissions.IsStaff"], "X: '.permissions.IsStaff' is no dotted name."),
        (["signalr_channels..IsStaff"], "X: 'signalr_channels..IsStaff' is no dotted name."),
        ([5], "X: 5 is no subclass of HubPermission."),
        ([dict], "X: <class 'dict'> is no subclass of HubPermission."),
        (STAFF, f"X must be a list, not '{STAFF}'."),
        (None, "X must be a list, not None."),
        ([NeedsRole], "X: NeedsRole.__init__: instances are made with no arguments (missing a required argument: 'role'); write"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_its_place(entries: Any, text: str) -> None:
    with pytest.raises(NotLoadable) as caught:
        load_classes(entries, HubPermission, "X")
    assert str(caught.value).startswith(text)
    assert isinstance(caught.value, HubDefinitionError)


def test_a_function_may_be_given_by_name_or_as_such() -> None:
    assert load_function("builtins.len", "X") is load_function(len, "X") is len


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("nope.f", "X: cannot import 'nope.f': No module named 'nope'."),
        ("sys.path", "X: 'sys.path' cannot be called."),
        (5, "X: 5 cannot be called."),
    ],
)
def test_a_function_that_is_none(entry: Any, text: str) -> None:
    with pytest.raises(NotLoadable) as caught:
        load_function(entry, "X")
    assert str(caught.value) == text


def test_an_error_inside_a_module_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "broken_permissions.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        load_classes(["broken_permissions.IsNice"], HubPermission, "X")
