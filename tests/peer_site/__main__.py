"""``python -m tests.peer_site PORT``: a migrated temporary database, then uvicorn as documented for production."""

import os
import sys
import tempfile

UVICORN = [
    *("uvicorn", "tests.peer_site.asgi:application", "--host", "127.0.0.1"),
    *(
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--ws",
        "websockets-sansio",
        "--ws-per-message-deflate",
        "false",
        "--ws-ping-interval",
        "0",
        "--timeout-keep-alive",
        "130",
    ),
    *("--no-access-log", "--log-level", "warning", "--backlog", "4096", "--timeout-graceful-shutdown", "10"),
]


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.peer_site.settings")
    if "PEER_DATABASE" not in os.environ:
        os.environ["PEER_DATABASE"] = os.path.join(tempfile.mkdtemp(prefix="peer-site-"), "db.sqlite3")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    os.execv(sys.executable, [sys.executable, "-m", *UVICORN, "--port", sys.argv[1]])


if __name__ == "__main__":
    main()
