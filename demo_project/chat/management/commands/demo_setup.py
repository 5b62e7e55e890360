"""``manage.py demo_setup``: an admin user to log in with, and where to go. Running it again changes nothing."""

import os
import secrets
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

NAME = "admin"
ANOTHER_PASSWORD = "DEMO_ADMIN_PASSWORD=... make demo sets another one"


class Command(BaseCommand):
    help = "Make the admin user (DEMO_ADMIN_PASSWORD, or a password that is made up) and say where the site is (PORT)."

    def handle(self, *args: Any, **options: Any) -> None:
        site = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
        password = self.set_up_admin(os.environ.get("DEMO_ADMIN_PASSWORD", ""))
        lines = (
            ("Chat", f"{site}/", "open it in two tabs"),
            ("Lifetime", f"{site}/lifetime/", "lose a classic connection, and see what becomes of it"),
            ("Admin", f"{site}/admin/", "Connections shows who is connected, and why others left"),
            ("Login", f"{NAME} / {password or 'the password that was set before'}", "" if password else ANOTHER_PASSWORD),
        )
        for title, value, note in lines:
            self.stdout.write(f"  {self.style.MIGRATE_HEADING(title.ljust(8))} {value}" + (f"  ({note})" if note else ""))

    def set_up_admin(self, wanted: str) -> str | None:
        """Make the user, or give it the wanted password. Returns the password if one was set."""
        user = User.objects.filter(username=NAME).first()
        if user is not None and (not wanted or user.check_password(wanted)):
            return None
        password = wanted or secrets.token_urlsafe(9)
        if user is None:
            User.objects.create_superuser(NAME, password=password)
        else:
            user.set_password(password)
            user.save(update_fields=["password"])
        return password
