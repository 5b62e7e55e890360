"""``manage.py demo``: the whole demo site with one command, and a server that is started again when the lifetime page kills it."""

import argparse
import os
import socket
import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from demo_project.lifetime.process import Supervisor

HOST = "127.0.0.1"


class Command(BaseCommand):
    help = "Set the demo site up and serve it on 127.0.0.1. Ctrl-C ends it; the button of the lifetime page only restarts it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("port", nargs="?", type=int, default=os.environ.get("PORT", "8000"), help="Default: PORT, or 8000.")

    def handle(self, *args: Any, **options: Any) -> None:
        port: int = options["port"]
        check_port(port)
        os.environ["PORT"] = str(port)
        call_command("migrate", verbosity=0)
        call_command("demo_setup", stdout=self.stdout)
        self.stdout.flush()
        server = [sys.executable, sys.argv[0], "runserver", f"{HOST}:{port}", "--noreload"]
        code = Supervisor(server, os.environ).run(self.restarting)
        if code > 0:
            sys.exit(code)

    def restarting(self, pid: int) -> None:
        self.stdout.write(self.style.WARNING(f"Server process {pid} was killed from the page; starting another."))
        self.stdout.flush()


def check_port(port: int) -> None:
    """
    See whether a server can listen on a port. daphne says only in its log that it could not, and ends as if all had been well.

    Raises:
        CommandError: It cannot. The text says what to do.
    """
    if not 0 < port < 65536:
        raise CommandError(f"There is no port {port}.")
    with socket.socket() as probe:
        if os.name == "posix":  # as daphne does: connections of an earlier server may linger
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            another = port + 1 if 1024 <= port < 65535 else 8001
            raise CommandError(f"Port {port} cannot be used: {error.strerror}. Take another one: make demo PORT={another}") from error
