"""Connection tokens: signed, self-contained, fit for a URL as they are."""

from __future__ import annotations

import re
import time

import msgspec
import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.tokens import ConnectionToken, digest, make_connection_id, new_token, read_connection_token

URL_SAFE = re.compile(r"[A-Za-z0-9_-]+")


def make_token(**changes: object) -> ConnectionToken:
    token = new_token(connection_id=make_connection_id(), hub="chat.hubs.ChatHub", user_identifier="7")
    return msgspec.structs.replace(token, **changes)


def test_a_token_says_what_was_put_into_it() -> None:
    token = new_token(connection_id="the-id", hub="chat.hubs.ChatHub", user_identifier="7", is_stateful=True)
    read = read_connection_token(token.sign())
    assert read == token
    assert read.connection_id == "the-id"
    assert read.hub == digest("chat.hubs.ChatHub")
    assert read.user == digest("7")
    assert read.is_stateful
    assert abs(read.issued_at - time.time()) < 5


def test_a_token_is_url_safe_and_short() -> None:
    for hub in ("chat.hubs.ChatHub", "a" * 1000):
        for user in (None, "7", "x" * 1000, "Grüße"):
            text = new_token(connection_id=make_connection_id(), hub=hub, user_identifier=user).sign()
            assert URL_SAFE.fullmatch(text)
            assert len(text) < 150


def test_a_token_names_neither_hub_nor_user() -> None:
    text = new_token(connection_id="id", hub="chat.hubs.ChatHub", user_identifier="anna@example.com").sign()
    assert "anna" not in text and "Chat" not in text


def test_connection_ids_are_22_characters_and_never_the_same() -> None:
    ids = {make_connection_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 22 and URL_SAFE.fullmatch(one) for one in ids)


@pytest.mark.parametrize("change", [" ", "=", "!", "\n", "\x00", "é", "+", "/", "."])
def test_a_token_with_something_behind_or_before_it_is_none(change: str) -> None:
    text = make_token().sign()
    for extra in (change, change * 4):
        assert read_connection_token(text + extra) is None
        assert read_connection_token(extra + text) is None
        assert read_connection_token(text[:10] + extra + text[10:]) is None


def test_a_token_that_was_changed_is_none() -> None:
    text = make_token().sign()
    for position in range(len(text) - 1):  # of the last character some bits mean nothing
        other = "A" if text[position] != "A" else "B"
        assert read_connection_token(text[:position] + other + text[position + 1 :]) is None
        assert read_connection_token(text[:position]) is None


def test_a_token_of_another_site_is_none() -> None:
    with override_settings(SECRET_KEY="another"):
        foreign = make_token().sign()
    assert read_connection_token(foreign) is None


def test_an_old_secret_key_is_accepted_while_it_is_a_fallback() -> None:
    with override_settings(SECRET_KEY="old"):
        token = make_token()
        text = token.sign()
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", "old"]):
        assert read_connection_token(text) == token
    with override_settings(SECRET_KEY="new"):
        assert read_connection_token(text) is None


def test_digests_tell_names_apart() -> None:
    assert digest(None) == ""
    digests = [digest(name) for name in ("", "a", "A", "ä", "\ud800")]
    assert len(set(digests)) == 5
    assert all(len(one) == 12 for one in digests)


def test_an_endless_token_is_none() -> None:
    assert read_connection_token("A" * 1_000_000) is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert read_connection_token(text) is None
