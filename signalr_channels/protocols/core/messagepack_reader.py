"""
A pull reader for MessagePack, for what the fast path cannot read: half arrays, strings that are not UTF-8, bytes left over.

Source: the MessagePack specification, "Formats"; error texts of ``MessagePack-CSharp``.
"""

from __future__ import annotations

__all__ = ["MessagePackError", "MessagePackReader", "repair_text"]

NIL, FALSE, TRUE = 0xC0, 0xC2, 0xC3
INTEGERS = {
    0xCC: (1, False), 0xCD: (2, False), 0xCE: (4, False), 0xCF: (8, False),
    0xD0: (1, True), 0xD1: (2, True), 0xD2: (4, True), 0xD3: (8, True),
}  # fmt: skip
TEXT_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Code -> bytes of the length behind it."""
ARRAY_LENGTHS = {0xDC: 2, 0xDD: 4}
MAP_LENGTHS = {0xDE: 2, 0xDF: 4}
BINARY_LENGTHS = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
"""Code -> bytes of the length behind it, and of the extension type behind that."""
FIXED_SIZES = {NIL: 0, FALSE: 0, TRUE: 0, 0xCA: 4, 0xCB: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17} | {
    code: size for code, (size, _) in INTEGERS.items()
}

NAMES = (
    "nil", "(never used)", "false", "true", "bin 8", "bin 16", "bin 32", "ext 8", "ext 16", "ext 32", "float 32", "float 64",
    "uint 8", "uint 16", "uint 32", "uint 64", "int 8", "int 16", "int 32", "int 64",
    "fixext 1", "fixext 2", "fixext 4", "fixext 8", "fixext 16", "str 8", "str 16", "str 32", "array 16", "array 32", "map 16", "map 32",
)  # fmt: skip
"""Of the codes from 0xC0."""


class MessagePackError(ValueError):
    """
    The bytes cannot be read as what was asked for.

    Attributes:
        kind: The exception name .NET gives this fault.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class MessagePackReader:
    """Reads forward through ``data``; ``position`` is the next unread byte."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """How many bytes are unread."""
        return len(self.data) - self.position

    def read_array_header(self) -> int:
        """How many items follow; never more than there are bytes."""
        count = self._read_count(0x90, ARRAY_LENGTHS)
        if count > self.remaining:
            raise _end_of_data()
        return count

    def read_map_header(self) -> int:
        """How many pairs follow; never more than there are bytes for."""
        count = self._read_count(0x80, MAP_LENGTHS)
        if 2 * count > self.remaining:
            raise _end_of_data()
        return count

    def read_integer(self) -> int:
        """An integer of any width."""
        code = self._read_code()
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code not in INTEGERS:
            raise _unexpected(code)
        size, signed = INTEGERS[code]
        return int.from_bytes(self._read_bytes(size), "big", signed=signed)

    def read_text(self) -> str | None:
        """A string, or ``None`` for nil. Bytes that are not UTF-8 become U+FFFD."""
        code = self._read_code()
        if code == NIL:
            return None
        if 0xA0 <= code <= 0xBF:
            size = code & 0x1F
        elif code in TEXT_LENGTHS:
            size = self._read_unsigned(TEXT_LENGTHS[code])
        else:
            raise _unexpected(code)
        return self._read_bytes(size).decode("utf-8", "replace")

    def read_boolean(self) -> bool:
        """True or false."""
        code = self._read_code()
        if code not in (FALSE, TRUE):
            raise _unexpected(code)
        return code == TRUE

    def skip_value(self) -> bytes:
        """Read any value with all that is in it. Returns its bytes."""
        start, waiting = self.position, 1
        while waiting:
            waiting += self._skip_one() - 1
        return self.data[start : self.position]

    def _skip_one(self) -> int:
        """Skip a scalar, or the header of a container. Returns how many values follow in it."""
        code = self._read_code()
        if code <= 0x7F or code >= 0xE0:
            return 0
        if code <= 0x8F:
            return 2 * (code & 0x0F)
        if code <= 0x9F:
            return code & 0x0F
        if code in ARRAY_LENGTHS:
            return self._read_unsigned(ARRAY_LENGTHS[code])
        if code in MAP_LENGTHS:
            return 2 * self._read_unsigned(MAP_LENGTHS[code])
        if code <= 0xBF:
            self._read_bytes(code & 0x1F)
        elif code in TEXT_LENGTHS:
            self._read_bytes(self._read_unsigned(TEXT_LENGTHS[code]))
        elif code in BINARY_LENGTHS:
            length_size, type_size = BINARY_LENGTHS[code]
            self._read_bytes(self._read_unsigned(length_size) + type_size)
        elif code in FIXED_SIZES:
            self._read_bytes(FIXED_SIZES[code])
        else:
            raise _unexpected(code)
        return 0

    def _read_count(self, fixed: int, lengths: dict[int, int]) -> int:
        code = self._read_code()
        if code & 0xF0 == fixed:
            return code & 0x0F
        if code not in lengths:
            raise _unexpected(code)
        return self._read_unsigned(lengths[code])

    def _read_code(self) -> int:
        return self._read_bytes(1)[0]

    def _read_unsigned(self, size: int) -> int:
        return int.from_bytes(self._read_bytes(size), "big")

    def _read_bytes(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise _end_of_data()
        start, self.position = self.position, end
        return self.data[start:end]


def repair_text(data: bytes) -> bytes:
    """
    Write a valid value anew with every string in UTF-8; what is not becomes U+FFFD, as .NET reads it.

    Raises:
        MessagePackError: The value is not valid.
    """
    reader, parts, waiting = MessagePackReader(data), [], 1
    while waiting:
        start = reader.position
        waiting += reader._skip_one() - 1
        part = data[start : reader.position]
        if 0xA0 <= part[0] <= 0xBF or part[0] in TEXT_LENGTHS:
            text = (MessagePackReader(part).read_text() or "").encode()
            part = b"\xdb" + len(text).to_bytes(4, "big") + text
        parts.append(part)
    return b"".join(parts)


def _end_of_data() -> MessagePackError:
    return MessagePackError("Attempted to read past the end of the stream.", "EndOfStreamException")


def _unexpected(code: int) -> MessagePackError:
    if code <= 0x7F:
        name = "positive fixint"
    elif code >= 0xE0:
        name = "negative fixint"
    elif code >= 0xC0:
        name = NAMES[code - 0xC0]
    else:
        name = "fixmap" if code <= 0x8F else "fixarray" if code <= 0x9F else "fixstr"
    return MessagePackError(f"Unexpected msgpack code {code} ({name}) encountered.", "MessagePackSerializationException")
