"""Write settings.md and checks.md from the code: ``python docs/generate.py`` (``--check`` only says whether they are current)."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def settings_page() -> str:
    """The settings reference."""
    from signalr_channels.conf import ClassicSettings, SignalRSettings

    lines = [
        "# Settings",
        "",
        "One dict in the Django settings, every entry optional:",
        "",
        "```python",
        'SIGNALR = {"KEEP_ALIVE_INTERVAL": 15, "ALLOWED_ORIGINS": ["https://app.example.com"]}',
        "```",
        "",
        "Settings marked *hub* can differ per hub (`settings = {...}` in the class) and per path (`map_hub(path, Hub, NAME=value)`).",
        "They are read when they are used, so `override_settings` works. A misspelt name fails the check `signalr_channels.E001`,",
        "which names the nearest one.",
        "",
        *definitions(SignalRSettings),
        "## The classic generation",
        "",
        "Clients of ASP.NET SignalR 2 have settings of their own, in a dict inside the dict. Some of the names mean something else above:",
        "",
        "```python",
        'SIGNALR = {"CLASSIC": {"DISCONNECT_TIMEOUT": 60, "TRANSPORTS": ["webSockets", "longPolling"]}}',
        "```",
        "",
        "Each can differ per mount: `map_classic_hubs(path, hubs, NAME=value)`. What a mount does not set comes from `CLASSIC`.",
        "",
        "`KEEP_ALIVE` and `DISCONNECT_TIMEOUT` go together. `DISCONNECT_TIMEOUT` alone sets `KEEP_ALIVE` to a third of it. `KEEP_ALIVE`",
        "may be no more than a third of `DISCONNECT_TIMEOUT`, given or default. SignalR also minds which of the two is set first; a dict",
        "has no order, so both are looked at together.",
        "",
        *definitions(ClassicSettings),
    ]
    return "\n".join(lines).rstrip() + "\n"


def definitions(settings: type) -> list[str]:
    """One entry for each setting of a dataclass."""
    lines = []
    for field in dataclasses.fields(settings):
        meta = field.metadata
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = f"{value:g}" if isinstance(value, float) else repr(value)
        facts = [f"default `{default}`" + (f" {meta['unit']}" if meta["unit"] and value is not None else "")]
        if value is None and meta["unit"]:
            facts.append(f"in {meta['unit']}")
        if meta["minimum"] is not None:
            facts.append(f"at least {meta['minimum']:g}")
        if meta["hub"]:
            facts.append("*hub*")
        if meta["mirrors"]:
            facts.append(f"SignalR's `{meta['mirrors']}`")
        lines += [f"`{field.name}`", f": {meta['text']}", f"  {' · '.join(facts)}", ""]
    return lines


def checks_page() -> str:
    """The list of system checks."""
    from signalr_channels import checks

    lines = [
        "# System checks",
        "",
        "Run `manage.py check`, and `manage.py check --deploy` before a deployment. Silence one with `SILENCED_SYSTEM_CHECKS`.",
        "",
        "| id | finds |",
        "| --- | --- |",
    ]
    for line in (checks.__doc__ or "").splitlines():
        code, _, text = line.partition("    ")
        if code[:1] in "EW" and code[1:].isdigit():
            lines.append(f"| `signalr_channels.{code}` | {text.strip().replace('``', '`')} |")
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "checks.md": checks_page}


def main() -> int:
    """Write the pages, or compare them."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "signalr_channels"])
        django.setup()
    stale = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run python docs/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
