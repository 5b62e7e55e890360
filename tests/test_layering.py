"""
The rooms of the package, as a test: imports point to smaller or equal numbers only.

This and the table of rooms in the house rules change together, on purpose. Imports for type checkers count like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import signalr_channels

PACKAGE = "signalr_channels"
ROOT = Path(signalr_channels.__file__).parent
ROOMS = {"protocols": 1, "connections": 2, "hubs": 3, "backplane": 4}
EDGE = 5
SHARED_BY_ALL = f"{PACKAGE}.exceptions"

OTHERS = {
    1: ("msgspec",),
    2: ("msgspec",),
    3: ("msgspec",),
    4: ("msgspec", "channels.layers"),
}
"""What a room may import besides the standard library and rooms of smaller numbers. The edge may import anything."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> int:
    """The room of a module of ours."""
    if module == SHARED_BY_ALL:
        return 0
    parts = module.split(".")
    return ROOMS.get(parts[1], EDGE) if len(parts) > 1 else EDGE


def imports(source: str, package: str) -> Iterator[str]:
    """Names of all modules that are imported, wherever in the text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1]]) if node.level else ""
            yield ".".join(part for part in (base, node.module) if part)


def faults(module: str, source: str) -> list[str]:
    """Imports that a module may not have."""
    room = room_of(module)
    found = []
    for imported in imports(source, module.rpartition(".")[0]):
        if imported.split(".")[0] == PACKAGE:
            allowed = room_of(imported) <= room
        elif room in OTHERS:
            top = imported.split(".")[0]
            allowed = top in sys.stdlib_module_names or any(imported == other or imported.startswith(f"{other}.") for other in OTHERS[room])
        else:
            allowed = True
        if not allowed:
            found.append(f"{module} (room {room}) imports {imported}")
    return found


MODULES = sorted(ROOT.rglob("*.py"))


def test_there_is_something_to_look_at() -> None:
    names = {module_name(path) for path in MODULES}
    assert {f"{PACKAGE}.protocols.core.engine", f"{PACKAGE}.hubs.session", f"{PACKAGE}.runtime", PACKAGE} <= names
    assert {room_of(name) for name in names} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_to_smaller_numbers(path: Path) -> None:
    assert faults(module_name(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("protocols.core.engine", "import asyncio, json, msgspec", 0),
        ("protocols.core.engine", "from signalr_channels.exceptions import SignalRError", 0),
        ("protocols.core.engine", "from signalr_channels.protocols.base import Data", 0),
        ("protocols.core.engine", "from signalr_channels.connections.store import ConnectionStore", 1),
        ("protocols.core.engine", "from signalr_channels import Hub", 1),
        ("protocols.core.engine", "import django", 1),
        ("protocols.core.engine", "import redis, asgiref", 2),
        ("connections.connection", "from signalr_channels.hubs import hub", 1),
        ("connections.connection", "from ..hubs import hub", 1),
        ("connections.connection", "from . import store", 0),
        ("hubs.hub", "if TYPE_CHECKING:\n    from django.db import models", 1),
        ("hubs.hub", "def late():\n    from channels.layers import get_channel_layer", 1),
        ("hubs.hub", "from signalr_channels.conf import get_settings", 1),
        ("backplane.relay", "from channels.layers import get_channel_layer\nimport channels.layers", 0),
        ("backplane.relay", "import channels", 1),
        ("backplane.relay", "from channels.db import database_sync_to_async", 1),
        ("backplane.relay", "from signalr_channels.runtime import Runtime", 1),
        ("runtime", "import django, channels.auth, signalr_channels.backplane.relay", 0),
        ("exceptions", "from signalr_channels.protocols.base import Data", 1),
    ],
)
def test_this_test_sees_what_it_should(module: str, source: str, count: int) -> None:
    assert len(faults(f"{PACKAGE}.{module}", source)) == count


def test_importing_the_package_loads_no_django() -> None:
    code = f"import sys, {PACKAGE}; print(*sorted({{name.split('.')[0] for name in sys.modules}} & {{'django', 'channels', 'asgiref'}}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.split() == []
