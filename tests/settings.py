"""Settings of the test suite: the demo site's, with a database of its own and nothing that slows tests down."""

import os

os.environ.setdefault("DEMO_DEBUG", "0")

from demo_project.settings import *  # noqa: F403 - the suite tests the site people start with

SECRET_KEY = "only-for-tests, and long enough for the access tokens among them"
DEBUG = False
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "tests.database", "NAME": ":memory:"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
SIGNALR = {"HISTORY": False}
