"""
System checks: what can be misconfigured, found before a client does. ``manage.py check``, and ``check --deploy`` for the security ones.

======  ========================================================================
id      finds
======  ========================================================================
E001    an unknown or impossible setting in ``SIGNALR``
E002    a hub class that cannot work, such as two methods with one wire name
E003    filters, permission classes or a ``USER_IDENTIFIER`` that cannot be loaded
E004    ``CHANNEL_LAYER`` names no entry of ``CHANNEL_LAYERS``
E005    a ``KEY_PREFIX`` that is no legal start of a channel-layer name
E006    two hubs with the same dotted name
E007    ``DATABASE`` names no entry of ``DATABASES``
W101    an in-memory channel layer, or none, outside ``DEBUG``
W102    channels_redis' core layer on redis-py 8 without ``socket_timeout``
W103    a channel layer whose ``capacity`` is too small for one channel per process
W104    a ``GROUP_RENEWAL_INTERVAL`` longer than the layer's ``group_expiry``
W105    ``ALLOWED_ORIGINS`` that lets every page use the visitor's login (deploy)
W106    ``SECURE_SSL_REDIRECT`` without ``SECURE_PROXY_SSL_HEADER`` (deploy)
W107    a daphne with known vulnerabilities
W108    persistent database connections, which async code does not get rid of
W109    a ``PROCESS_LEASE`` shorter than two heartbeats
W110    a ``CLIENT_TIMEOUT_INTERVAL`` that no client with default settings can keep
W111    ``ENABLE_JSONP`` of ``CLASSIC`` outside ``DEBUG``: every page can read answers
W112    a ``TOMBSTONE_TIME`` of ``CLASSIC`` that ends before clients give up
W113    a ``runserver`` that serves no hubs, or no ``ASGI_APPLICATION`` (only in ``DEBUG``)
W114    a ``KEEP_ALIVE_INTERVAL`` too long for clients with default settings
======  ========================================================================
"""

from signalr_channels.checks.deployment import check_deployment, check_environment, check_server
from signalr_channels.checks.hubs import check_hubs
from signalr_channels.checks.layers import check_layer
from signalr_channels.checks.site import check_classic, check_settings

__all__ = ["check_classic", "check_deployment", "check_environment", "check_hubs", "check_layer", "check_server", "check_settings"]
