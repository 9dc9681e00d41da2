"""Frames as they travel: the header and the records of docs/wire.md, version 1."""
import struct
from collections import namedtuple

VERSION = 1
PIECE, ACK_NOW, TAKING = 1, 2, 4  # flags
MAX_FRAME, MAX_PAYLOAD, INITIAL_WINDOW = 256 << 10, 1 << 30, 256 << 10

HEADER = struct.Struct("<BBHHHQQQQQIIII")
Header = namedtuple("Header", "version flags to sender reserved cluster incarnation seq ack_incarnation ack_seq"
                    " ack_offset window count offset")
RECORD = struct.Struct("<IIq")
SHORT, SHORT_BIT = struct.Struct("<BH"), 128
Record = namedtuple("Record", "kind length msgid data")


def parse(frame):
    """The header of a frame and its records, of which a piece has not all the data. ValueError says what is wrong."""
    if frame[:1] != bytes([VERSION]):
        raise ValueError("version")
    try:
        h = Header(*HEADER.unpack_from(frame))
        records = piece(h, frame) if h.flags & PIECE else split(h, frame)
    except struct.error:
        raise ValueError("malformed") from None
    if h.flags & ~(PIECE | ACK_NOW | TAKING) or h.reserved or not h.incarnation or not 0 < h.seq <= 1 << 62:
        raise ValueError("malformed")
    return h, records


def piece(h, frame):
    head = (0, 0, 0) if h.offset else RECORD.unpack_from(frame, HEADER.size)
    r = Record(*head, frame[HEADER.size + (0 if h.offset else RECORD.size):])
    first_is_all = h.offset == 0 and len(r.data) >= r.length
    if h.count != 1 or not r.data or first_is_all or r.kind >= SHORT_BIT or r.length > MAX_PAYLOAD:
        raise ValueError("malformed")
    return [r]


def split(h, frame):
    records, at = [], HEADER.size
    for _ in range(h.count):
        if records and frame[at:at + 1] >= bytes([SHORT_BIT]):
            kind, length = SHORT.unpack_from(frame, at)
            following = (records[-1].msgid + 1 + 2**63) % 2**64 - 2**63
            head = (kind - SHORT_BIT, length, following)
            at += SHORT.size
        else:
            head = RECORD.unpack_from(frame, at)
            at += RECORD.size
        r = Record(*head, frame[at:at + head[1]])
        if r.kind >= SHORT_BIT or len(r.data) != r.length:
            raise ValueError("malformed")
        records.append(r)
        at += r.length
    if at != len(frame) or h.count and h.offset:
        raise ValueError("malformed")
    return records
