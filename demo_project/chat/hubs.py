from signalr_channels import Hub


class ChatHub(Hub):
    pass
