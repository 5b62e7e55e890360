"""Sphinx configuration."""

project = "signalr-channels"
copyright = "2026, the signalr-channels developers"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
exclude_patterns = ["_build", "generate.py"]
