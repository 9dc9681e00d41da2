"""Values as they travel: the kinds, type expressions and CBOR of docs/wire.md, version 1."""
import io
import re
import struct
from dataclasses import dataclass
from datetime import datetime, timezone

import cbor2

NUMBERS = dict(zip(range(4, 16), ["<q", "<b", "<h", "<i", "<q", "<Q", "<B", "<H", "<I", "<Q", "<f", "<d"]))
EMPTY = {1: None, 2: False, 3: True, 18: b""}  # kinds without a payload
PLAIN = re.compile(r"any|bool|u?int(8|16|32|64)?|float(32|64)|string|\[\](uint8|any)|map\[(string|any)\]any"
                   r"|9:time\.Time|7:big\.Int")


@dataclass
class Typed:
    """A value of a registered Go type; a struct is a dict. Without a name it is of the type that expr says."""

    name: str
    value: object
    expr: str = ""
    binary: bool = False  # value is what the type's MarshalBinary wrote

    def __post_init__(self):
        self.expr = self.expr or f"{len(self.name.encode())}:{self.name}"


def typed(expr, value, binary=False):
    """The value of a Go type that was received: plain where Python has the like."""
    if PLAIN.fullmatch(expr) and not binary:
        return value
    size, _, name = expr.partition(":")
    return Typed(name if size == str(len(name.encode())) else "", value, expr, binary)


def encode(v):
    """The kind and the payload of a value. A struct has the names of the Go fields as keys (docs/wire.md, section 10): kind 19
    says so just as well as 21 does, which servers of an earlier version refuse."""
    if v is None or isinstance(v, bool):
        return {None: 1, False: 2, True: 3}[v], b""
    if isinstance(v, int) and -1 << 63 <= v < 1 << 64:
        return (4, struct.pack("<q", v)) if v < 1 << 63 else (13, struct.pack("<Q", v))
    if isinstance(v, float):
        return 15, struct.pack("<d", v)
    if isinstance(v, str):
        return 16, v.encode("utf-8", "surrogateescape")
    if isinstance(v, (bytes, bytearray)):
        return 17, bytes(v)
    if isinstance(v, int):
        v = Typed("big.Int", v)
    elif isinstance(v, datetime):
        v = Typed("time.Time", v)
    elif isinstance(v, (list, tuple)):
        v = Typed("", v, "[]any")
    elif isinstance(v, dict):
        v = Typed("", v, "map[string]any" if all(isinstance(k, str) for k in v) else "map[any]any")
    elif not isinstance(v, Typed):
        raise TypeError(f"a value of type {type(v).__name__} cannot be sent")
    expr = v.expr.encode()
    body = v.value if v.binary else cbor2.dumps(v.value, default=box, timezone=timezone.utc)
    return 20 if v.binary else 19, struct.pack("<H", len(expr)) + expr + body


def box(encoder, v):
    """Write a Typed inside another value: in Go it stands where an interface is."""
    encoder.encode(cbor2.CBORTag(27, [v.expr, v.value]))


def unbox(_, tag):
    if tag.tag != 27 or len(tag.value) != 2:
        raise ValueError(f"CBOR tag {tag.tag}")
    return typed(*tag.value)


def decode(kind, payload):
    """The value of a kind and a payload, or an exception: see Server._take. Kinds 19 and 21 read alike here; a struct that a
    Go server of an earlier version sent has the keys of its first form."""
    if kind in EMPTY and not payload:
        return EMPTY[kind]
    if kind in NUMBERS:
        return struct.unpack(NUMBERS[kind], payload)[0]
    if kind == 16:
        return payload.decode("utf-8", "surrogateescape")
    if kind == 17:
        return payload
    if kind not in (19, 20, 21):
        raise ValueError(f"kind {kind}")
    (size,) = struct.unpack_from("<H", payload)
    expr, body = payload[2:2 + size].decode(), payload[2 + size:]
    if kind == 20:
        return typed(expr, body, True)
    stream = io.BytesIO(body)
    value = cbor2.load(stream, tag_hook=unbox)
    if stream.read(1):
        raise ValueError("bytes after the value")
    return typed(expr, value)
