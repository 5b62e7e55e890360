"""
Settings of the peer site.

From the environment: ``PEER_LAYER`` (memory, pubsub, core), ``REDIS_URL``, ``PEER_DATABASE``, ``PEER_ORIGINS`` (separated by blanks), those
of ``CLASSIC_TIMES`` (numbers; no keep-alive is 0), and ``PEER_SIGNALR`` (more of ``SIGNALR``, as JSON).
"""

import json
import os

DEBUG = False
SECRET_KEY = "only-for-tests-and-long-enough-for-sha256"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "signalr_channels",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"]
ROOT_URLCONF = "tests.peer_site.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("PEER_DATABASE", ":memory:")}}

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
LAYERS = {
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "pubsub": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}},
    "core": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL], "capacity": 10_000}},
}
CHANNEL_LAYERS = {"default": LAYERS[os.environ.get("PEER_LAYER", "memory")]}

CLASSIC_TIMES = {
    "PEER_DISCONNECT_TIMEOUT": "DISCONNECT_TIMEOUT",
    "PEER_KEEP_ALIVE": "KEEP_ALIVE",
    "PEER_CONNECTION_TIMEOUT": "CONNECTION_TIMEOUT",
    "PEER_CONNECT_TIMEOUT": "TRANSPORT_CONNECT_TIMEOUT",
    "PEER_POLL_DELAY": "LONG_POLL_DELAY",
    "PEER_BUFFER": "MESSAGE_BUFFER_SIZE",
}
CLASSIC = {setting: json.loads(os.environ[name]) for name, setting in CLASSIC_TIMES.items() if name in os.environ}
if CLASSIC.get("KEEP_ALIVE") == 0:
    CLASSIC["KEEP_ALIVE"] = None
more = json.loads(os.environ.get("PEER_SIGNALR", "{}"))
SIGNALR = {
    "ALLOWED_ORIGINS": os.environ.get("PEER_ORIGINS", "*").split(),
    "ENABLE_DETAILED_ERRORS": True,
    **more,
    "CLASSIC": {**CLASSIC, **more.get("CLASSIC", {})},
}
SIMPLE_JWT = {"USER_ID_FIELD": "username", "USER_ID_CLAIM": "sub"}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "signalr_channels": {"handlers": ["console"], "level": os.environ.get("PEER_LOG", "CRITICAL")},
    },
}
