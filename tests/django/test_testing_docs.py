"""The examples of the page about testing are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INI = """
[pytest]
DJANGO_SETTINGS_MODULE = tests.settings
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
python_files = tests.py test_*.py
filterwarnings = error
"""
BLOCK = re.compile(r"^```python\n# (?P<path>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_pass(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    names = []
    for block in BLOCK.finditer(page):
        path = tmp_path / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["code"], encoding="utf-8")
        names.append(block["path"])
    assert names == ["chat/hubs.py", "chat/tests.py", "chat/test_with_pytest.py"]
    assert page.count("```python") == len(names)
    (tmp_path / "chat" / "__init__.py").touch()
    (tmp_path / "pytest.ini").write_text(INI)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "signalr_channels.pytest_plugin", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "9 passed" in result.stdout
