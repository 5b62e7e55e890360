"""The two tokens of classic clients: signed, bound to a user and to a connection, fit for a query as they are."""

from __future__ import annotations

import logging
import re
import time
import uuid
import zlib

import msgspec
import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.classic_tokens import (
    CONNECTION_SALT,
    GROUPS_SALT,
    LONGEST_GROUPS_TOKEN,
    ClassicToken,
    new_classic_token,
    read_classic_token,
    read_groups_token,
    sign_groups,
)
from signalr_channels.tokens import SALT, digest, make_connection_id, new_token, read_connection_token, sign

URL_SAFE = re.compile(r"[A-Za-z0-9_-]+")
ARBITER = "specific." + "0123456789abcdef" * 2 + "!" + "0123456789ab"
ID = "0d8e4ff6-3b9a-4b0c-9a59-5ad0b6a1f2c3"


# The connection token


def test_a_token_says_what_was_put_into_it() -> None:
    token = new_classic_token("ada", ARBITER)
    read = read_classic_token(token.sign())
    assert read == token
    assert read.arbiter == ARBITER
    assert abs(read.issued_at - time.time()) < 5


def test_a_connection_id_is_a_guid_in_lower_case_with_hyphens_and_never_the_same() -> None:
    ids = {new_classic_token(None, "").connection_id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 36 and one == str(uuid.UUID(one)) for one in ids)


@pytest.mark.parametrize("user", [None, "7", "x" * 1000, "Grüße", "a:b", "\ud800"])
def test_a_token_is_url_safe_and_short_and_names_nobody(user: str | None) -> None:
    text = new_classic_token(user, ARBITER).sign()
    assert URL_SAFE.fullmatch(text)
    assert len(text) < 300
    assert user is None or len(user) < 4 or user not in text


@pytest.mark.parametrize(
    ("owner", "other", "is_same"),
    [
        ("ada", "ada", True),
        ("ada", "ADA", True),  # letter case is put aside, as in the reference
        ("Straße", "STRASSE", True),
        ("ada", "bob", False),
        ("ada", None, False),
        (None, "ada", False),
        (None, None, True),
        ("", None, False),
        (None, "", False),
        ("ada", "ada ", False),
    ],
)
def test_a_token_belongs_to_the_user_it_was_given_to(owner: str | None, other: str | None, is_same: bool) -> None:
    read = read_classic_token(new_classic_token(owner, "").sign())
    assert read is not None
    assert read.belongs_to(other) is is_same


def test_a_token_that_was_changed_is_none() -> None:
    text = new_classic_token("ada", ARBITER).sign()
    for position in range(len(text) - 1):  # of the last character some bits mean nothing
        other = "A" if text[position] != "A" else "B"
        assert read_classic_token(text[:position] + other + text[position + 1 :]) is None
        assert read_classic_token(text[:position]) is None
    for extra in (" ", "=", "\n", "+", "/", "é", "AAAA"):
        assert read_classic_token(text + extra) is None
        assert read_classic_token(extra + text) is None


@pytest.mark.parametrize("text", ["", "A", "x" * 40, "x" * 513, "A" * 100_000, "é", "\ud800", "a:b"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert read_classic_token(text) is None
    assert read_groups_token(text, ID) == []


@given(st.text())
def test_no_text_is_taken_for_a_token_or_raises(text: str) -> None:
    assert read_classic_token(text) is None
    assert read_groups_token(text, ID) == []


def test_a_token_of_another_site_is_none_and_one_of_an_old_key_is_good_while_that_is_a_fallback() -> None:
    with override_settings(SECRET_KEY="old"):
        token = new_classic_token("ada", "")
        text, groups = token.sign(), sign_groups(ID, ["Chat.lobby"])
    assert read_classic_token(text) is None
    assert read_groups_token(groups, ID) == []
    with override_settings(SECRET_KEY_FALLBACKS=["older", "old"]):
        assert read_classic_token(text) == token
        assert read_groups_token(groups, ID) == ["Chat.lobby"]


def test_tokens_of_one_purpose_are_good_for_no_other() -> None:
    core = new_token(connection_id=make_connection_id(), hub="chat.hubs.ChatHub", user_identifier=None).sign()
    classic = new_classic_token(None, "").sign()
    groups = sign_groups(ID, ["Chat.lobby"])
    assert read_classic_token(core) is None
    assert read_classic_token(groups) is None
    assert read_connection_token(classic) is None
    assert read_connection_token(groups) is None
    for text in (core, classic):
        assert read_groups_token(text, ID) == []
    payload = msgspec.msgpack.encode(new_classic_token(None, ""))
    for salt in (GROUPS_SALT, SALT):
        assert read_classic_token(sign(payload, salt)) is None
    packed = zlib.compress(msgspec.msgpack.encode((digest(ID), ["Chat.lobby"])))
    for salt in (CONNECTION_SALT, SALT):
        assert read_groups_token(sign(packed, salt), ID) == []


@pytest.mark.parametrize("payload", [b"", b"\xc0", msgspec.msgpack.encode(["id"]), msgspec.msgpack.encode([1, "", 0]), b"\x94"])
def test_a_payload_of_another_shape_is_none(payload: bytes) -> None:
    assert read_classic_token(sign(payload, CONNECTION_SALT)) is None


def test_a_token_from_before_there_were_arbiters_is_read() -> None:
    payload = msgspec.msgpack.encode([ID, digest("ada"), 5])
    assert read_classic_token(sign(payload, CONNECTION_SALT)) == ClassicToken(ID, digest("ada"), 5)


# The groups token


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20))
def test_a_groups_token_says_what_was_put_into_it(names: list[str]) -> None:
    text = sign_groups(ID, names)
    assert URL_SAFE.fullmatch(text)
    assert read_groups_token(text, ID) == names


def test_a_groups_token_is_the_same_for_the_same_groups_so_that_it_is_told_once() -> None:
    assert sign_groups(ID, ["Chat.a", "Chat.b"]) == sign_groups(ID, ("Chat.a", "Chat.b"))
    assert sign_groups(ID, []) != ""


def test_a_groups_token_is_good_for_one_connection() -> None:
    text = sign_groups(ID, ["Chat.lobby"])
    assert read_groups_token(text, str(uuid.uuid4())) == []
    assert read_groups_token(text, "") == []


@pytest.mark.parametrize("text", [None, ""])
def test_a_client_without_a_groups_token_is_in_no_group(text: str | None) -> None:
    assert read_groups_token(text, ID) == []


def test_many_groups_stay_short_enough_for_a_query() -> None:
    names = [f"Chat.room-{number:04}" for number in range(500)]
    text = sign_groups(ID, names)
    assert len(text) < 2000
    assert read_groups_token(text, ID) == names


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5), st.integers(1, 400))
def test_groups_that_do_not_fit_into_a_query_are_left_out_from_the_end(names: list[str], times: int) -> None:
    many = [f"{name}{digest(f'{name}{number}')}" for number in range(times) for name in names]  # they hardly shrink
    text = sign_groups(ID, many)
    assert len(text) <= LONGEST_GROUPS_TOKEN
    kept = read_groups_token(text, ID)
    assert kept == many[: len(kept)]
    if len(many) <= 100 and all(len(name) < 20 for name in names):
        assert kept == many


def test_a_group_with_an_endless_name_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    name = "".join(digest(str(number)) for number in range(1000))
    with caplog.at_level(logging.WARNING):
        text = sign_groups("another", [name])
    assert read_groups_token(text, "another") == []
    assert "another is in more groups than its groups token can hold" in caplog.text


@pytest.mark.parametrize(("length", "is_read"), [(1_000_000, True), (1_100_000, False), (4_000_000, False)])
def test_a_groups_token_that_unpacks_to_too_much_is_none(length: int, is_read: bool) -> None:
    bomb = sign(zlib.compress(msgspec.msgpack.encode((digest(ID), ["x" * length])), 9), GROUPS_SALT)
    if length < 2_000_000:
        assert len(bomb) <= LONGEST_GROUPS_TOKEN
    assert bool(read_groups_token(bomb, ID)) is is_read


def test_a_token_of_ours_that_is_too_long_is_none() -> None:
    assert read_classic_token(ClassicToken(ID, "", 0, "x" * 200).sign()) is not None
    assert read_classic_token(ClassicToken(ID, "", 0, "x" * 400).sign()) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"not packed",
        zlib.compress(b""),
        zlib.compress(b"\xc0"),
        zlib.compress(msgspec.msgpack.encode([digest(ID), "Chat.lobby"])),
        zlib.compress(msgspec.msgpack.encode([digest(ID), [1]])),
        zlib.compress(msgspec.msgpack.encode((digest(ID), ["Chat.lobby"])))[:-6],
    ],
)
def test_a_groups_token_of_another_shape_is_none(payload: bytes) -> None:
    assert read_groups_token(sign(payload, GROUPS_SALT), ID) == []


def test_a_changed_groups_token_is_none() -> None:
    text = sign_groups(ID, ["Chat.lobby"])
    for position in range(len(text) - 1):
        other = "A" if text[position] != "A" else "B"
        assert read_groups_token(text[:position] + other + text[position + 1 :], ID) == []
