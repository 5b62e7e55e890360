"""The script of generated proxies, read as clients read it and run in Node. The reference, section 6.9."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.protocols.classic.scripts import DISABLED_SCRIPT, ScriptHub, ScriptMethod, proxy_script
from tests.live import missing

METHOD = re.compile(r"^\s*(\w+): function \(([^)]*)\)(?s:.*?)proxies\['(\w+)'\].*?\[\"(\w+)\"\]", re.MULTILINE)
STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
MOUNT = re.compile(r"hubConnection\(\"([^\"]*)\", (\{[^}]*\})")

HUBS = [
    ScriptHub("peer", [ScriptMethod("toClient", "ToClient", ["id", "text"]), ScriptMethod("add", "Add", ["a", "b"])]),
    ScriptHub("empty"),
    ScriptHub("bench", [ScriptMethod("echo", "Echo", ["text"]), ScriptMethod("getEvents", "GetEvents")]),
]

ODD_TEXTS = ["", "delete", "a b", "a'b", 'a"b', "a\\", "</script>", "\u2028", "é", "1a", "\n", "a]b", "constructor", "\ud800"]
ODD_PARAMETERS = ["class", "arguments", "proxies", "eval", "é", "a b", "a){", "$", "await", "ok"]

# The parts of jQuery and its client that the script touches, with the meaning they have there.
CLIENT = """
var log = [];
function HubProxy(name) { this.hubName = name; this.handlers = []; }
HubProxy.prototype.on = function (event, callback, identity) { this.handlers.push([event, callback, identity]); };
HubProxy.prototype.off = function (event, callback, identity) {
    this.handlers = this.handlers.filter(function (one) { return one[0] !== event || one[2] !== identity; });
};
HubProxy.prototype.invoke = function () { log.push([this.hubName].concat([].slice.call(arguments))); return "promise"; };
function HubConnection() { this.created = []; this.listeners = {starting: [], disconnected: []}; }
HubConnection.prototype.starting = function (callback) { this.listeners.starting.push(callback); return this; };
HubConnection.prototype.disconnected = function (callback) { this.listeners.disconnected.push(callback); return this; };
HubConnection.prototype.createHubProxy = function (name) { this.created.push(name); return new HubProxy(name); };
HubConnection.prototype._registerSubscribedHubs = function () { this.registered = (this.registered || 0) + 1; };
HubConnection.prototype.raise = function (name) {
    var connection = this;
    this.listeners[name].forEach(function (callback) { callback.call(connection); });
};
function hubConnection(url, options) { var made = new HubConnection(); made.url = url; made.options = options; return made; }
hubConnection.prototype = HubConnection.prototype;
var jQuery = {
    signalR: function () {}, hubConnection: hubConnection, extend: Object.assign,
    makeArray: function (items) { return [].slice.call(items); }
};
var window = {jQuery: jQuery};
"""


def run_in_node(script: str, *options: str) -> str:
    """Run a script and give what it writes, without the end of the line."""
    program = shutil.which("node")
    if program is None:
        missing("Node")
    done = subprocess.run([program, *options, "-"], input=script, capture_output=True, text=True, encoding="utf-8", timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def in_page(script: str, then: str) -> object:
    """Load the script in a page with a client, go on there, and give what ``result`` is then."""
    return json.loads(
        run_in_node(f"{CLIENT}\n{script}\nvar $ = jQuery, hub = $.signalR.hub, result;\n{then}\nconsole.log(JSON.stringify(result));")
    )


def test_methods_are_read_with_their_parameters_in_order() -> None:
    found = METHOD.findall(proxy_script("/signalr", HUBS))
    assert [f"{hub}.{name}({parameters}) {called}" for name, parameters, hub, called in found] == [
        "bench.echo(text) Echo",
        "bench.getEvents() GetEvents",
        "peer.add(a, b) Add",
        "peer.toClient(id, text) ToClient",
    ]


@pytest.mark.parametrize("mount", ["/signalr", "/signalr/x", "", "/signalr/"])
def test_the_mount_is_the_address_of_the_connection(mount: str) -> None:
    assert MOUNT.findall(proxy_script(mount, HUBS)) == [(mount, "{ useDefaultPath: false }")]


def test_the_script_makes_proxies_of_the_hubs() -> None:
    then = """
        result = [hub.url, hub.options, hub.created, Object.keys($.signalR), Object.keys($.signalR.peer.server), $.signalR.empty.server];
    """
    assert in_page(proxy_script("/signalr", HUBS), then) == [
        "/signalr",
        {"useDefaultPath": False},
        ["bench", "empty", "peer"],
        ["hub", "bench", "empty", "peer"],
        ["add", "toClient"],
        {},
    ]


def test_server_functions_pass_all_arguments_on() -> None:
    then = """
        var answer = $.signalR.peer.server.add(1);
        $.signalR.peer.server.toClient("id", "text", [3]);
        $.signalR.bench.server.getEvents();
        result = [answer, log];
    """
    calls = [["peer", "Add", 1], ["peer", "ToClient", "id", "text", [3]], ["bench", "GetEvents"]]
    assert in_page(proxy_script("/signalr", HUBS), then) == ["promise", calls]


def test_client_functions_are_subscribed_while_the_connection_lives() -> None:
    then = """
        var peer = $.signalR.peer, told = [];
        peer.client.newMessage = function (kind, text) { told.push([kind, text, this === peer]); };
        peer.client.title = "no function";
        hub.raise("starting");
        peer.handlers.forEach(function (one) { one[1]("a", "b"); });
        result = [
            peer.handlers.map(function (one) { return [one[0], one[2] === peer.client.newMessage, one[1].toString()]; }),
            told, hub.registered, $.signalR.bench.handlers.length
        ];
        hub.raise("disconnected");
        result.push(peer.handlers.length);
    """
    result = in_page(proxy_script("/signalr", HUBS), then)
    assert isinstance(result, list)
    [[event, is_identity, wrapper]] = result[0]
    assert (event, is_identity) == ("newmessage", True)
    assert "// Call the client hub method" in wrapper[:256]  # old code takes wrappers off by this text
    assert result[1:] == [[["a", "b", True]], 1, 0, 0]


@pytest.mark.parametrize("window", ["{}", "{jQuery: {}}"])
def test_without_a_client_the_script_says_so(window: str) -> None:
    script = proxy_script("/signalr", HUBS)
    text = run_in_node(f"var window = {window}; try {{ {script} }} catch (error) {{ console.log(error.message); }}")
    assert text == "SignalR: jquery.signalR must be loaded before this script."


def test_odd_names_stay_names() -> None:
    methods = [ScriptMethod(text, f"{text}!", ODD_PARAMETERS) for text in ODD_TEXTS]
    then = """
        JSON.parse(@NAMES@).forEach(function (name) {
            var server = $.signalR[name].server;
            for (var method in server) { server[method](method); }
        });
        result = [hub.url, log];
    """.replace("@NAMES@", json.dumps(json.dumps(ODD_TEXTS)))
    result = in_page(proxy_script("".join(ODD_TEXTS), [ScriptHub(text, methods) for text in ODD_TEXTS]), then)
    assert isinstance(result, list)
    assert result[0] == "".join(ODD_TEXTS)
    assert sorted(result[1]) == sorted([hub, f"{method}!", method] for hub in ODD_TEXTS for method in ODD_TEXTS)


@given(st.text(st.characters()))
def test_any_text_stays_in_its_string(text: str) -> None:
    script, plain = (proxy_script(one, [ScriptHub(one, [ScriptMethod("name", one)])]) for one in (text, ""))
    assert script.isascii()
    assert STRING.sub("", script) == STRING.sub("", plain)
    strings = [json.loads(f'"{string[1:-1]}"') for string in STRING.findall(script)]
    assert [string for string, empty in zip(strings, STRING.findall(plain), strict=True) if empty in ('""', "''")] == [text] * 8
    assert not set("<>&") & set("".join(STRING.findall(script)))


def test_the_script_is_javascript() -> None:
    assert run_in_node(proxy_script("/signalr", HUBS), "--check") == ""
    assert run_in_node(proxy_script("/signalr", []), "--check") == ""


def test_a_mount_without_proxies_says_so() -> None:
    text = run_in_node(f"try {{ {DISABLED_SCRIPT} }} catch (error) {{ console.log(error.message); }}")
    assert text == "SignalR: JavaScript Hub proxy generation has been disabled."
