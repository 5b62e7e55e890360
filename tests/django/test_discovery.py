"""``hubs.py`` of every installed app is imported when Django is set up, and nothing of Django before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT

TIMEOUT = 30.0

SETTINGS = """
import sys
sys.path.insert(0, {folder!r})
from django.conf import settings
settings.configure(
    SECRET_KEY="only-for-tests",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", {apps}],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
import django
"""

HUBS = """
from signalr_channels import Hub, hub_method
from {app}.models import NAME

class RoomHub(Hub):
    @hub_method
    async def echo(self, text: str) -> str:
        return text
"""


def run(folder: Path, apps: list[str], code: str) -> subprocess.CompletedProcess[str]:
    source = SETTINGS.format(folder=str(folder), apps=", ".join(map(repr, apps))) + code
    return subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def make_app(folder: Path, name: str, **modules: str) -> None:
    (folder / name).mkdir()
    for module, text in {"__init__": "", "models": f"NAME = {name!r}", **modules}.items():
        (folder / name / f"{module}.py").write_text(text)


def printed(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_hubs_of_installed_apps_are_found(tmp_path: Path) -> None:
    make_app(tmp_path, "rooms", hubs=HUBS.format(app="rooms"))
    make_app(tmp_path, "halls", hubs=HUBS.format(app="halls"))
    make_app(tmp_path, "plain")
    code = """
print("rooms.hubs" in sys.modules)
django.setup()
from signalr_channels.hubs.hub import Hub, hub_name
print(*sorted(hub_name(hub) for hub in Hub.__subclasses__()))
"""
    apps = ["rooms", "signalr_channels", "halls", "plain"]  # whether they come before or after
    assert printed(run(tmp_path, apps, code)) == ["False", "halls.hubs.RoomHub", "rooms.hubs.RoomHub"]


def test_a_hubs_module_that_fails_says_so(tmp_path: Path) -> None:
    make_app(tmp_path, "rooms", hubs="import no_such_module_at_all")
    result = run(tmp_path, ["signalr_channels", "rooms"], "django.setup()")
    assert result.returncode != 0
    assert "no_such_module_at_all" in result.stderr


def test_discovered_hubs_are_checked(tmp_path: Path) -> None:
    make_app(tmp_path, "rooms", hubs=HUBS.format(app="rooms") + "\n    @hub_method(name='ECHO')\n    async def again(self): ...\n")
    code = """
django.setup()
from django.core.checks import run_checks
print(*(message.id for message in run_checks(tags=["signalr"]) if message.id.startswith("signalr_channels.E")))
"""
    assert printed(run(tmp_path, ["signalr_channels", "rooms"], code)) == ["signalr_channels.E002"]


def test_without_django_set_up_there_is_no_way_to_clients(tmp_path: Path) -> None:
    code = """
from signalr_channels import Hub, get_hub_context
class RoomHub(Hub): pass
try:
    get_hub_context(RoomHub).clients.all.send("x")
except Exception as error:
    print(type(error).__name__, str(error).replace(" ", "_"))
"""
    name, text = printed(run(tmp_path, ["signalr_channels"], code))
    assert name == "WrongContext"
    assert "django.setup()" in text


@pytest.mark.parametrize("module", ["signalr_channels", "signalr_channels.hubs.session", "signalr_channels.protocols.core.engine"])
def test_importing_what_hub_authors_need_loads_no_django(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.split('.')[0] in ('django', 'channels')))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert result.stdout.split() == []
