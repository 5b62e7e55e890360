"""``__all__`` of every module is sorted and true."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import signalr_channels

ROOT = Path(signalr_channels.__file__).parent
WITHOUT = ("migrations", "management")
"""Folders whose modules Django finds by their place."""


def exporting_modules() -> list[str]:
    names = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] not in WITHOUT and parts[-1] != "__init__":
            names.append(".".join(("signalr_channels", *parts)))
    return names


def kind(name: str) -> int:
    """Constants come first, then classes, then functions: the order of ``ruff``'s rule RUF022."""
    if name.isupper():
        return 0
    return 1 if name[0].isupper() else 2


@pytest.mark.parametrize("module", ["signalr_channels", *exporting_modules()])
def test_every_module_says_what_it_exports(module: str) -> None:
    imported = importlib.import_module(module)
    names = imported.__all__
    assert list(names) == sorted(names, key=lambda name: (kind(name), name))
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(imported, name), name
        assert not name.startswith("_")


@pytest.mark.parametrize("module", exporting_modules())
def test_what_a_module_exports_is_our_own(module: str) -> None:
    imported = importlib.import_module(module)
    path = imported.__file__
    assert path is not None
    defined = set()
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "signalr_channels":
            defined |= {alias.asname or alias.name for alias in node.names}
    assert set(imported.__all__) <= defined


def test_the_public_names_are_these() -> None:
    assert signalr_channels.__all__ == [
        "CloseReason",
        "Disconnect",
        "Hub",
        "HubContext",
        "HubException",
        "HubFilter",
        "get_hub_context",
        "hub_method",
    ]


def test_public_names_can_be_imported_at_once() -> None:
    namespace: dict[str, object] = {}
    exec("from signalr_channels import *", namespace)
    assert set(signalr_channels.__all__) <= set(namespace)
