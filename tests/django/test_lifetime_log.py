"""What the operator is told of an end, beside its reason."""

from __future__ import annotations

import pytest

from signalr_channels import HubException
from signalr_channels.exceptions import MessageTooBig, RemoteProtocolError
from signalr_channels.lifetime_log import ending_detail
from signalr_channels.protocols.endings import CloseReason, Disconnect


@pytest.mark.parametrize(
    ("reason", "exception", "detail"),
    [
        (CloseReason.CLIENT_CLOSED, None, ""),
        (CloseReason.PING_TIMEOUT, None, "The client was silent for the setting CLIENT_TIMEOUT_INTERVAL."),
        (CloseReason.POLL_TIMEOUT, None, "The client did not poll again within the setting DISCONNECT_TIMEOUT."),
        (CloseReason.HUB_ERROR, None, ""),
        (CloseReason.HUB_ERROR, HubException("We are closed."), "HubException: We are closed."),
        (CloseReason.HUB_ERROR, KeyError("room"), "KeyError: 'room'"),
        (CloseReason.HUB_ERROR, AssertionError(), "AssertionError: "),
        (
            CloseReason.MESSAGE_TOO_BIG,
            MessageTooBig(100),
            (
                "A message was over the setting MAXIMUM_RECEIVE_MESSAGE_SIZE. "
                "InvalidDataException: The maximum message size of 100B was exceeded."
            ),
        ),
        (
            CloseReason.HANDSHAKE_ERROR,
            RemoteProtocolError('Missing required property \'protocol\'. Message content: {"password":"secret"}'),
            "InvalidDataException: Missing required property 'protocol'.",
        ),
    ],
)
def test_the_detail_says_what_happened_and_repeats_nothing_the_client_sent(
    reason: CloseReason, exception: Exception | None, detail: str
) -> None:
    assert ending_detail(Disconnect(reason=reason, stop_called=False, exception=exception)) == detail
