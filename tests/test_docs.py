"""The documentation says what the code says."""

from __future__ import annotations

import subprocess
import sys

from tests.live import ROOT

CLASSIC = ("docs/_static/lifetime.png", "docs/classic.md", "docs/lifetime.md", "docs/conformance-classic.md")


def test_generated_pages_are_current() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_the_readme_names_the_two_commands_and_what_it_shows_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    for name in ("docs/_static/chat.png", "docs/_static/admin.png", "docs/limits.md", "docs/conformance-core.md", *CLASSIC):
        assert name in readme
        assert (ROOT / name).exists()
