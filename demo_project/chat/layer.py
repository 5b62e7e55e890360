"""Whether other processes can be reached."""

from channels.layers import InMemoryChannelLayer, get_channel_layer


def layer_is_in_memory() -> bool:
    """True where messages stay in the process that sends them."""
    layer = get_channel_layer()
    return layer is None or isinstance(layer, InMemoryChannelLayer)
