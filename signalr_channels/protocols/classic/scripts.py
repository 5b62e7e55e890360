"""
The script of generated proxies, ``/signalr/hubs``, which gives a page ``$.connection.chat.server`` and ``.client``.

Source: aspnet-signalr-2, "Generated script"; ``DefaultJavaScriptProxyGenerator.cs``, ``jquery.signalR.hubs.js``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from signalr_channels.protocols.classic.requests import RESERVED_WORDS

__all__ = ["DISABLED_SCRIPT", "ScriptHub", "ScriptMethod", "proxy_script"]

DISABLED_SCRIPT = 'throw new Error("SignalR: JavaScript Hub proxy generation has been disabled.");'
"""The script of a mount that generates none."""

IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
TAKEN = RESERVED_WORDS | {"$", "arguments", "await", "eval", "proxies"}
"""What a parameter cannot be called: the function itself uses three of these."""
NOT_IN_SCRIPTS = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}
"""Harmless in a string of either quotes, and where somebody copies the script into a page."""

# Functions of .client are wrapped, so that they run with the hub as ``this``. The comment in the wrapper is what off() of the
# jQuery client 2.4 knows wrappers by, looking at the first 256 characters; keep it first.
SCRIPT = """/* Proxies of the hubs at this address, made by signalr_channels. */
(function ($, window) {
    if (!$ || typeof $.signalR !== "function") {
        throw new Error("SignalR: jquery.signalR must be loaded before this script.");
    }

    var own = Object.prototype.hasOwnProperty;

    function wrap(hub, handler) {
        return function () {
            // Call the client hub method
            handler.apply(hub, arguments);
        };
    }

    function eachHandler(proxies, visit) {
        for (var name in proxies) {
            if (own.call(proxies, name)) {
                for (var event in proxies[name].client) {
                    if (own.call(proxies[name].client, event) && typeof proxies[name].client[event] === "function") {
                        visit(proxies[name], event, proxies[name].client[event]);
                    }
                }
            }
        }
    }

    function subscribe(hub, event, handler) {
        hub.on(event.toLowerCase(), wrap(hub, handler), handler);
    }

    function unsubscribe(hub, event, handler) {
        hub.off(event.toLowerCase(), wrap(hub, handler), handler);
    }

    $.hubConnection.prototype.createHubProxies = function () {
        var proxies = {};

        this.starting(function () {
            eachHandler(proxies, subscribe);
            this._registerSubscribedHubs();
        });
        this.disconnected(function () {
            eachHandler(proxies, unsubscribe);
        });
@HUBS@
        return proxies;
    };

    $.signalR.hub = $.hubConnection(@MOUNT@, { useDefaultPath: false });
    $.extend($.signalR, $.signalR.hub.createHubProxies());
}(window.jQuery, window));
"""


class ScriptMethod(msgspec.Struct, frozen=True):
    """A hub method in the script."""

    name: str
    """What scripts call it."""
    wire_name: str
    """What is sent to the server."""
    parameters: Sequence[str] = ()
    """For readers of the script; all arguments are passed on, whatever their number."""


class ScriptHub(msgspec.Struct, frozen=True):
    """A hub in the script."""

    name: str
    """As in ``$.connection.name``."""
    methods: Sequence[ScriptMethod] = ()


def proxy_script(mount_url: str, hubs: Sequence[ScriptHub]) -> str:
    """
    Write the script.

    Args:
        mount_url: The path under which the hubs are served, such as ``/signalr``. It may come from the request: it is escaped.
        hubs: The hubs, in any order; they are written in the order of their names, and so are their methods.

    Returns:
        JavaScript in ASCII, for ECMAScript 3 and later.
    """
    written = "".join(_hub(hub) for hub in sorted(hubs, key=lambda hub: hub.name))
    before, _, rest = SCRIPT.partition("@HUBS@")
    between, _, after = rest.partition("@MOUNT@")
    return "".join((before, written, between, _double_quoted(mount_url), after))


def _hub(hub: ScriptHub) -> str:
    name = _single_quoted(hub.name)
    methods = ",\n".join(_method(name, method) for method in sorted(hub.methods, key=lambda method: method.name))
    server = f"{{\n{methods}\n        }}" if methods else "{}"
    return f"""
        proxies[{name}] = this.createHubProxy({name});
        proxies[{name}].client = {{}};
        proxies[{name}].server = {server};
"""


def _method(hub: str, method: ScriptMethod) -> str:
    is_plain = IDENTIFIER.fullmatch(method.name) and method.name not in RESERVED_WORDS
    name = method.name if is_plain else _double_quoted(method.name)
    parameters = ", ".join(_parameter(index, parameter) for index, parameter in enumerate(method.parameters, 1))
    call = f"proxies[{hub}].invoke.apply(proxies[{hub}], [{_double_quoted(method.wire_name)}].concat($.makeArray(arguments)))"
    return f"            {name}: function ({parameters}) {{\n                return {call};\n            }}"


def _parameter(index: int, name: str) -> str:
    """The name, or another one where JavaScript could not have it."""
    return name if IDENTIFIER.fullmatch(name) and name not in TAKEN else f"argument{index}"


def _double_quoted(text: str) -> str:
    return json.dumps(text).translate(NOT_IN_SCRIPTS)


def _single_quoted(text: str) -> str:
    # Between single quotes a double one may be escaped as well, and a single one always is.
    return f"'{_double_quoted(text)[1:-1]}'"
