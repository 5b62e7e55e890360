"""``manage.py demo``: the whole demo site with one command, and a server that is started again when the lifetime page kills it."""

import argparse
import os
import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo_project.lifetime.process import Supervisor


class Command(BaseCommand):
    help = "Set the demo site up and serve it on 127.0.0.1. Ctrl-C ends it; the button of the lifetime page only restarts it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("port", nargs="?", default=os.environ.get("PORT", "8000"), help="Default: PORT, or 8000.")

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ["PORT"] = port = options["port"]
        call_command("migrate", verbosity=0)
        call_command("demo_setup", stdout=self.stdout)
        self.stdout.flush()
        server = [sys.executable, sys.argv[0], "runserver", f"127.0.0.1:{port}", "--noreload"]
        code = Supervisor(server, os.environ).run(self.restarting)
        if code > 0:
            sys.exit(code)

    def restarting(self, pid: int) -> None:
        self.stdout.write(self.style.WARNING(f"Server process {pid} was killed from the page; starting another."))
        self.stdout.flush()
