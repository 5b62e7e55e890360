"""
A pull reader for the JSON object of a handshake or hub message, for what the fast path cannot read.

It reads in document order and stops behind the object's closing brace, as SignalR uses .NET's ``Utf8JsonReader``: the first defect
decides the error, and what follows the object is never looked at. Containers are walked without recursion.

Source: the error texts are those of ``System.Text.Json``, with their position.
"""

from __future__ import annotations

import enum
import json
import re
from typing import NoReturn

__all__ = ["MAXIMUM_DEPTH", "JsonReader", "JsonSyntaxError", "JsonTextError", "TokenKind", "decode_text", "is_too_deep"]

MAXIMUM_DEPTH = 64
"""How deeply objects and arrays may be nested, the message itself included."""
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
SAME_BRACKETS = bytes.maketrans(b"{}", b"[]")
LONGEST_INT64 = len(str(-(2**63)))

BLANKS = b" \t\r\n"
WHITE_SPACE = re.compile(rb"[ \t\r\n]*")
STRING_START = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
STRING = re.compile(STRING_START + rb'"')
BROKEN_STRING = re.compile(STRING_START + rb"(?P<escape>\\u[0-9a-fA-F]{0,3}|\\)?")
NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?")
LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
DELIMITERS = frozenset(b",]}/" + BLANKS)
LOW_SURROGATES = range(0xDC00, 0xE000)

NO_TOKENS = "The input does not contain any JSON tokens. Expected the input to start with a valid JSON token, when isFinalBlock is true."
OPEN_AT_END = "Expected depth to be zero at the end of the JSON payload. There is an open JSON object or array that should be closed."
END_AFTER_COMMA = "Expected start of a property name or value, but instead reached end of data."
TRAILING_COMMA = "The JSON {} contains a trailing comma at the end which is not supported in this mode. Change the reader options."
INVALID_AFTER_VALUE = "is invalid after a value. Expected either ',', '}', or ']'."


class TokenKind(str, enum.Enum):
    """The kind of a value, by the name SignalR's messages use."""

    OBJECT = "Object"
    ARRAY = "Array"
    STRING = "String"
    NUMBER = "Number"
    TRUE = "True"
    FALSE = "False"
    NULL = "Null"


KINDS = {
    ord("{"): TokenKind.OBJECT, ord("["): TokenKind.ARRAY, ord('"'): TokenKind.STRING,
    ord("t"): TokenKind.TRUE, ord("f"): TokenKind.FALSE, ord("n"): TokenKind.NULL,
    **dict.fromkeys(b"-0123456789", TokenKind.NUMBER),
}  # fmt: skip


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Looks over containers in C. The values it makes are thrown away, so numbers need not be converted.
skipper = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse_constant)


class JsonSyntaxError(ValueError):
    """The bytes are not JSON; the text is the JSON reader's, position included."""


class JsonTextError(ValueError):
    """A string token is well delimited but is not Unicode: bytes that are not UTF-8, or half a surrogate pair."""


class JsonReader:
    """
    Reads forward through ``data``; ``position`` is the next unread byte.

    After :meth:`peek` a value is read with ``read_text``, ``read_integer``, ``skip_value``, or ``open`` and then member by member.
    """

    __slots__ = ("_at_start", "_closers", "_text", "data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self._closers = bytearray()
        self._at_start = False
        self._text: str | None = None

    # Where we are

    def peek(self) -> TokenKind:
        """
        The kind of the value that comes next.

        Raises:
            JsonSyntaxError: No value starts here, or its first token is broken: that comes before any fault of its kind.
        """
        position = self._skip_white_space()
        if position >= len(self.data):
            self._fail(OPEN_AT_END if self._closers else NO_TOKENS)
        byte = self.data[position]
        kind = KINDS.get(byte)
        if kind is None:
            # The reference looks for comments inside containers, and words a lone '/' as if a value had come before.
            self._fail_at_byte(position, INVALID_AFTER_VALUE if byte == ord("/") and self._closers else "is an invalid start of a value.")
        if kind is not TokenKind.OBJECT and kind is not TokenKind.ARRAY:
            self._skip_scalar(kind)
            self.position = position
        elif len(self._closers) >= MAXIMUM_DEPTH:
            self._fail(f"The maximum configured depth of {MAXIMUM_DEPTH} has been exceeded. Cannot read next JSON {kind.value.lower()}.")
        return kind

    # Containers

    def open(self) -> None:
        """Step into the object or array that :meth:`peek` has seen."""
        self._closers.append(ord("}") if self.data[self.position] == ord("{") else ord("]"))
        self.position += 1
        self._at_start = True

    def next_name(self) -> bytes | None:
        """The next member's name as raw bytes between its quotes, or ``None`` behind the closing brace. The value comes next."""
        at_start = self._at_start
        if not self._next_element(ord("}")):
            return None
        byte = self.data[self.position]
        if byte != ord('"'):
            text = INVALID_AFTER_VALUE if at_start and byte == ord("/") else "is an invalid start of a property name. Expected a '\"'."
            self._fail_at_byte(self.position, text)
        name = self._string_token()
        position = self._skip_white_space()
        if self.data[position : position + 1] != b":":
            self._fail_at_byte(position, "is invalid after a property name. Expected a ':'.")
        self.position = position + 1
        return name[1:-1]

    def next_item(self) -> bool:
        """Whether another item comes in this array; the closing bracket is consumed."""
        return self._next_element(ord("]"))

    def _next_element(self, closer: int) -> bool:
        position = self._skip_white_space()
        at_start, self._at_start = self._at_start, False
        if position >= len(self.data):
            self._fail(OPEN_AT_END)
        byte = self.data[position]
        if byte == closer:
            self.position = position + 1
            self._closers.pop()
            return False
        if at_start:
            return True
        if byte != ord(","):
            self._fail_at_byte(position, "is invalid without a matching open." if byte in b"]}" else INVALID_AFTER_VALUE)
        self.position = position + 1
        position = self._skip_white_space()
        if position >= len(self.data):
            self._fail(END_AFTER_COMMA, position - self.data.endswith(b","))
        if self.data[position] == closer:
            self._fail(TRAILING_COMMA.format("object" if closer == ord("}") else "array"))
        return True

    # Values

    def read_text(self) -> str:
        """
        Read the string that :meth:`peek` has seen.

        Raises:
            JsonTextError: It is not Unicode.
        """
        return decode_text(self._string_token()[1:-1])

    def read_integer(self, bits: int) -> int | None:
        """Read the number that :meth:`peek` has seen; ``None`` if it has a fraction or exponent or does not fit in so many bits."""
        token = self._number_token()
        if len(token) > LONGEST_INT64 or not token.lstrip(b"-").isdigit():
            return None
        value = int(token)
        return value if -(1 << (bits - 1)) <= value < 1 << (bits - 1) else None

    def skip_value(self) -> bytes:
        """Read any value. Returns its bytes without surrounding blanks."""
        kind = self.peek()
        start = self.position
        if kind is TokenKind.OBJECT or kind is TokenKind.ARRAY:
            self._skip_container()
        else:
            self._skip_scalar(kind)
        return self.data[start : self.position]

    def _skip_container(self) -> None:
        # One character a byte: strings that are not UTF-8 are no fault here, and positions stay the same.
        text = self.data.decode("latin-1") if self._text is None else self._text
        self._text = text
        try:
            _, end = skipper.raw_decode(text, self.position)
        except (ValueError, RecursionError):
            self._walk_container()  # finds the fault, and its words
            return
        if is_too_deep(self.data[self.position : end], MAXIMUM_DEPTH - len(self._closers)):
            self._walk_container()
        else:
            self.position = end

    def _walk_container(self) -> None:
        outside = len(self._closers)
        self.open()
        while len(self._closers) > outside:
            in_object = self._closers[-1] == ord("}")
            if not (self.next_name() is not None if in_object else self.next_item()):
                continue
            kind = self.peek()
            if kind is TokenKind.OBJECT or kind is TokenKind.ARRAY:
                self.open()
            else:
                self._skip_scalar(kind)

    def _skip_scalar(self, kind: TokenKind) -> None:
        if kind is TokenKind.STRING:
            self._string_token()
        elif kind is TokenKind.NUMBER:
            self._number_token()
        else:
            self._literal_token(LITERALS[self.data[self.position]])

    # Tokens

    def _skip_white_space(self) -> int:
        match = WHITE_SPACE.match(self.data, self.position)
        assert match is not None
        self.position = match.end()
        return self.position

    def _string_token(self) -> bytes:
        match = STRING.match(self.data, self.position)
        if match is None:
            self._fail_string()
        self.position = match.end()
        return match.group()

    def _number_token(self) -> bytes:
        match = NUMBER.match(self.data, self.position)
        if match is None:
            self._fail_digit(self.position + 1, "sign character ('+' or '-')")
        end = match.end()
        if end == len(self.data):
            if self._closers:
                self._fail_at_byte(end - 1, "is an invalid end of a number. Expected a delimiter.", end)
        elif self.data[end] not in DELIMITERS:
            self._fail_number(match, end)
        self.position = end
        return match.group()

    def _literal_token(self, literal: bytes) -> None:
        if self.data.startswith(literal, self.position):
            self.position += len(literal)
            return
        rest = self.data[self.position :]
        same = next(index for index, byte in enumerate(literal) if rest[index : index + 1] != bytes((byte,)))
        text = f"'{rest.decode('utf-8', 'replace')}' is an invalid JSON literal. Expected the literal '{literal.decode()}'."
        self._fail(text, self.position + same)

    # Faults

    def _fail(self, text: str, position: int | None = None) -> NoReturn:
        """Raise with the line and the byte in it, both counted from 0."""
        position = self.position if position is None else position
        line = self.data.count(b"\n", 0, position)
        column = position - (self.data.rfind(b"\n", 0, position) + 1)
        raise JsonSyntaxError(f"{text} LineNumber: {line} | BytePositionInLine: {column}.")

    def _fail_at_byte(self, index: int, text: str, position: int | None = None) -> NoReturn:
        if index >= len(self.data):
            self._fail("Expected a value, but instead reached end of data.", index)
        byte = self.data[index]
        shown = chr(byte) if 0x20 <= byte < 0x7F else f"0x{byte:02X}"
        self._fail(f"'{shown}' {text}", index if position is None else position)

    def _fail_string(self) -> NoReturn:
        match = BROKEN_STRING.match(self.data, self.position)
        assert match is not None
        end = match.end()
        if end >= len(self.data):
            self._fail("Expected end of string, but instead reached end of data.", end)
        escape = match["escape"]
        what = {None: "is invalid", b"\\": "is an invalid escapable character"}.get(escape, "is not a hex digit following '\\u'")
        self._fail_at_byte(end, f"{what} within a JSON string. The string should be correctly escaped.")

    def _fail_digit(self, position: int, after: str) -> NoReturn:
        if position >= len(self.data):
            self._fail("Expected a digit ('0'-'9'), but instead reached end of data.", position)
        self._fail_at_byte(position, f"is invalid within a number, immediately after a {after}. Expected a digit ('0'-'9').")

    def _fail_number(self, match: re.Match[bytes], end: int) -> NoReturn:
        byte = chr(self.data[end])
        if match["exponent"] is None and byte in "eE":
            signed = self.data[end + 1 : end + 2] in (b"+", b"-")
            self._fail_digit(end + 1 + signed, "sign character ('+' or '-')")
        if match["fraction"] is None and match["exponent"] is None:
            if byte == ".":
                self._fail_digit(end + 1, "decimal point ('.')")
            if byte in "0123456789":
                self._fail(f"Invalid leading zero before '{byte}'.", end)
        wanted = "'E' or 'e'" if match["fraction"] and match["exponent"] is None else "a delimiter"
        self._fail_at_byte(end, f"is an invalid end of a number. Expected {wanted}.")


def is_too_deep(data: bytes, maximum_depth: int = MAXIMUM_DEPTH) -> bool:
    """Whether valid JSON is nested more deeply than that, found out by stripping the innermost brackets level by level."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(data.split(b'"')[::2])
    outline = outside_strings.translate(SAME_BRACKETS, NOT_BRACKETS)
    for _ in range(maximum_depth):
        if not outline:
            return False
        outline = outline.replace(b"[]", b"")
    return bool(outline)


def decode_text(content: bytes) -> str:
    """
    Decode what stands between the quotes of a valid string token.

    Raises:
        JsonTextError: It is not Unicode.
    """
    try:
        text = content.decode()
        if "\\" in text:
            text = json.loads(f'"{text}"')
            text.encode()  # fails for half a surrogate pair written as an escape
    except UnicodeDecodeError as error:
        raise JsonTextError("Cannot transcode invalid UTF-8 JSON text to UTF-16 string.") from error
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if code in LOW_SURROGATES:
            raise JsonTextError(f"Cannot read invalid UTF-16 JSON text as string. Invalid surrogate value: '0x{code:X}'.") from error
        raise JsonTextError("Cannot read incomplete UTF-16 JSON text as string with missing low surrogate.") from error
    return text
