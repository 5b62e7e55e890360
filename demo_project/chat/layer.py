"""What the channel layer of the site can do."""

from channels.layers import InMemoryChannelLayer, get_channel_layer


def reaches_other_processes() -> bool:
    """False where messages stay in the process that sends them."""
    layer = get_channel_layer()
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)
