"""
Settings of the demo site. Nothing has to be set: a file of SQLite, and messages that stay in one process.

From the environment:

==================  =====================================================================
``DEMO_DEBUG``      ``0`` turns Django's debug mode off
``SECRET_KEY``      has a default for development
``ALLOWED_HOSTS``   host names, separated by blanks; needed when debug mode is off
``DATABASE_PATH``   the SQLite file
``REDIS_URL``       such as ``redis://127.0.0.1:6379/0``; needed for more than one process
``CHANNEL_LAYER``   ``pubsub`` (the default) or ``core``: how Redis is used
==================  =====================================================================
"""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent

DEBUG = os.environ.get("DEMO_DEBUG", "1") != "0"
SECRET_KEY = os.environ.get("SECRET_KEY", "django-insecure-for-the-demo-set-SECRET_KEY-where-others-reach-the-site")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1 localhost [::1]").split()

INSTALLED_APPS = [
    "daphne",  # first, so that runserver serves ASGI
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "signalr_channels",
    "demo_project.chat",
    "demo_project.lifetime",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo_project.urls"
ASGI_APPLICATION = "demo_project.asgi.application"
WSGI_APPLICATION = "demo_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE_PATH", str(BASE_DIR / "demo.sqlite3")),
        # Several processes and threads write. Waiting for the lock at the start of a transaction cannot deadlock; taking it later can.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
    }
}


def channel_layer(redis_url: str | None, kind: str) -> dict[str, Any]:
    """The channel layer: what carries messages from one process to another."""
    if not redis_url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if kind == "core":
        return {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis_url], "capacity": 10_000}}
    return {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis_url]}}


CHANNEL_LAYERS = {"default": channel_layer(os.environ.get("REDIS_URL"), os.environ.get("CHANNEL_LAYER", "pubsub"))}

# Shorter than the defaults, so that visitors who cut the network or kill the server need not wait long for what becomes of it.
SIGNALR = {
    "CLASSIC": {"DISCONNECT_TIMEOUT": 12, "KEEP_ALIVE": 3},
    "PROCESS_HEARTBEAT_INTERVAL": 4,
    "PROCESS_LEASE": 12,
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
LOGOUT_REDIRECT_URL = "chat"

# One line for each connection that begins or ends. runserver writes one for each request, with its query: tokens do not belong there.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"without_query": {"()": "signalr_channels.log_filters.WithoutQuery"}},
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "signalr_channels": {"handlers": ["lines"], "level": "INFO"},
        "django.channels.server": {"filters": ["without_query"]},
    },
}
