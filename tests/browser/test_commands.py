"""The management commands of the demo site, in this process."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

REDIS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]}}}


def output_of(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_say_tells_why_it_cannot_be_heard(settings: Any) -> None:
    with pytest.raises(CommandError, match="Set REDIS_URL"):
        output_of("say", "lobby", "Hello")

    settings.CHANNEL_LAYERS = REDIS
    with pytest.raises(CommandError, match="Is Redis running"):
        output_of("say", "lobby", "Hello")
    with pytest.raises(CommandError, match="letters, digits"):
        output_of("say", "no/room", "Hello")


@pytest.mark.django_db
def test_demo_setup_makes_an_admin_and_prints_a_password_only_when_it_sets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.delenv("DEMO_ADMIN_PASSWORD", raising=False)
    first = output_of("demo_setup")
    assert "http://127.0.0.1:8123/admin/" in first
    user = User.objects.get(username="admin")
    assert user.is_superuser
    assert user.check_password(first.split("admin / ")[1].strip())

    assert "the password that was set before" in output_of("demo_setup")
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "another one")
    assert "admin / another one" in output_of("demo_setup")
    assert "the password that was set before" in output_of("demo_setup")
    assert User.objects.count() == 1
