"""The management commands of the demo site."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from tests.live import ROOT

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

    assert "the password that was set before  (DEMO_ADMIN_PASSWORD=... make demo sets another one)" in output_of("demo_setup")
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "another one")
    assert "admin / another one" in output_of("demo_setup")
    assert "the password that was set before" in output_of("demo_setup")
    assert User.objects.count() == 1


def test_a_port_that_is_taken_is_all_that_the_demo_talks_of(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings", "DATABASE_PATH": str(database)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "manage.py", "demo", str(port)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"Port {port} cannot be used: Address already in use. Take another one: make demo PORT={port + 1}" in done.stderr
    assert not database.exists()


def test_a_port_must_be_one() -> None:
    for port in ("0", "70000"):
        with pytest.raises(CommandError, match=f"There is no port {port}"):
            output_of("demo", port)
    with pytest.raises(CommandError, match="invalid int value: 'x'"):
        output_of("demo", "x")
