"""A server of a cluster in Python: the frames of docs/wire.md, version 1.

    with Server(2, "Config.json") as server:
        server.send(0, Typed("main.Point", {"X": 1, "Y": 2}))
        sender, msgid, value = server.recv()

It needs pyzmq and cbor2 (Debian: apt-get install python3-zmq python3-cbor2).

There are no threads: frames are read, acknowledged and written within the calls
of send and recv, so a program that calls neither for long looks stalled to its
peers, and lets nobody in meanwhile. Unlike the Go library it writes each message
in a frame of its own, waits in send until the peer takes it, and counts a gap as
lost at once. It announces no capability (section 13), so it is sent nothing again, is
asked to confirm nothing, and has no calls and no urgent stream. With keys in the configuration it speaks CURVE, with the same checks:
see keys.py.
"""
import hashlib
import json
import os
import socket
import time
from collections import Counter, deque, namedtuple

import zmq

from frames import ACK_NOW, HEADER, MAX_FRAME, PIECE, RECORD, VERSION, parse
from keys import Gate, public_keys, secret_key
from peer import Peer
from values import Typed, decode, encode

__all__ = ["Server", "Typed"]

PIECE_BYTES = 128 << 10  # of payload in each frame that we write
WINDOW = 256 << 10  # what we grant to each peer: the smallest messages take a hundred times their bytes in the inbox
PROBE_SECONDS = 0.25
OTHER_KEY_SECONDS = 5  # without a connection, until the other key of a peer is tried


# An Item is one message in the inbox, or what has only to be acknowledged in its turn: then message is None. The last
# item of a frame has the frame's size, and asks for an acknowledgment if the frame does.
Item = namedtuple("Item", "peer incarnation end message size asks")


def endpoint(address):
    return address if "://" in address else "tcp://" + address


def bindable(address):
    """The endpoint to listen on: zmq_bind takes no names."""
    scheme, _, place = endpoint(address).partition("://")
    host, _, port = place.rpartition(":")
    if scheme != "tcp" or host == "*" or "[" in host:
        return endpoint(address)
    return f"tcp://{socket.gethostbyname(host)}:{port}"


def load(path, pid):
    """The configuration in a file, with its names in lower case, and the entry of server pid."""
    with open(path, encoding="utf-8") as f:
        try:
            config = json.load(f, object_hook=lambda o: {k.lower(): v for k, v in o.items()})
        except ValueError as e:
            raise ValueError(f"{path}: {e}") from None
    if not isinstance(config, dict) or not isinstance(config.get("peers"), list):
        raise ValueError(f"{path}: this program reads the form with \"peers\" alone")
    for entry in config["peers"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int) or not isinstance(entry.get("address"), str):
            raise ValueError(f"{path}: {entry}: want an id, which is a number, and an address")
        if not isinstance(entry.get("observer", False), bool):
            raise ValueError(f"{path}: {entry}: observer: want true or false")
    own = [p for p in config["peers"] if p["id"] == pid]
    if len(own) != 1:
        raise ValueError(f"{path}: it has {len(own)} servers with the id {pid}")
    return config, own[0]


class Server:
    """The server pid of the cluster that a Config.json describes: {"cluster": ..., "peers": [{"id": ..., ...}]}.
    OSError or ValueError say what is wrong with the file, with the keys or with the address."""

    def __init__(self, pid, config_path):
        config, own = load(config_path, pid)
        keys = public_keys(config, config_path)
        pair = secret_key(pid, keys, config, config_path) if keys else None
        self.pid = pid
        self.cluster = int.from_bytes(hashlib.sha256(config.get("cluster", "").encode()).digest()[:8], "little")
        self.incarnation = int.from_bytes(os.urandom(8), "little") or 1
        self.max_message = config.get("maxmessagebytes") or 64 << 20
        self.counts = Counter()  # received, lost, missed, and what was refused by reason
        self.peers = {p["id"]: Peer(p["id"], p["address"], self.max_message, self.counts, keys.get(p["id"], []))
                      for p in config["peers"]}
        del self.peers[pid]
        self.participants = [p["id"] for p in config["peers"] if p["id"] != pid and not p.get("observer")]
        self.inbox = deque()  # of Items
        self.clock = 0
        self.context = zmq.Context()
        self.gate = Gate(self.context, pid, keys, pair) if keys else None
        self.pull = self._socket(zmq.PULL, own["address"], RCVHWM=0, MAXMSGSIZE=MAX_FRAME, HANDSHAKE_IVL=3000,
                                 TCP_KEEPALIVE=1, TCP_KEEPALIVE_IDLE=6, TCP_KEEPALIVE_INTVL=2, TCP_KEEPALIVE_CNT=3,
                                 **(self.gate.listens() if self.gate else {}))
        try:
            self.pull.bind(bindable(own.get("bind") or own["address"]))
        except (OSError, zmq.ZMQError) as e:
            self.close(0)
            raise ValueError(f"{config_path}: server {pid}: listening at {own.get('bind') or own['address']}: {e}") from None

    def _socket(self, kind, endpoint, **options):
        s = self.context.socket(kind)
        for name, value in options.items():
            s.setsockopt(getattr(zmq, name), value)
        s.setsockopt(zmq.IPV6, "[" in endpoint)
        return s

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, linger=5.0):
        """End, after what was sent has left or after linger seconds."""
        self.context.destroy(int(linger * 1000))

    def recv(self, timeout=None):
        """The next message as (sender, message id, value), or None when none came within timeout seconds."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            while self.inbox:
                message = self._pop()
                if message is not None:
                    self.counts["received"] += 1
                    return message
            left = end - time.monotonic()
            self._receive(min(max(left, 0), 1))
            if left <= 0 and not self.inbox:
                return None

    def _pop(self):
        """Take the first item of the inbox, and tell its sender if that is due."""
        item, p = self.inbox[0], self.inbox.popleft().peer
        p.waiting -= item.size
        if item.incarnation == p.incarnation:
            p.queued, p.taken, p.untold = p.queued - 1, item.end, p.untold + item.size
            p.owed = p.owed or item.asks or p.untold >= WINDOW // 4
            if p.owed:
                self._frame(p, 0)
        return item.message

    def send(self, pid, value, timeout=1.0):
        """Send to one server. TimeoutError: it took nothing for timeout seconds and the message is dropped; from then
        on that comes at once, until the server takes again."""
        if self._send([pid], value, timeout):
            raise TimeoutError(f"server {pid} takes nothing")

    def broadcast(self, value, timeout=1.0):
        """Send to all other servers that are no observers, and return the ids of those that took nothing."""
        return self._send(self.participants, value, timeout)

    def _send(self, pids, value, timeout):
        if not self.peers.keys() >= set(pids):
            raise ValueError(f"the configuration has no other server {pids}")
        kind, payload = encode(value)
        if len(payload) > self.max_message:
            raise ValueError(f"{len(payload)} bytes are more than maxMessageBytes, {self.max_message}")
        self.clock = max(time.time_ns() // 1000, self.clock + 1)
        head = RECORD.pack(kind, len(payload), self.pid << 47 | self.clock & (1 << 47) - 1)
        return [pid for pid in pids if not self._write(self.peers[pid], head, payload, timeout)]

    def _write(self, peer, head, payload, timeout):
        """Write one record, in pieces if it is large, or report that the peer does not take it."""
        seq, flags = peer.next[0], PIECE if len(payload) > PIECE_BYTES else 0
        for at in range(0, max(1, len(payload)), PIECE_BYTES):
            content = (b"" if at else head) + payload[at:at + PIECE_BYTES]
            taken = self._wait(peer, flags, content, timeout)
            if peer.next[0] != seq:
                return False  # the peer has given up a record of which it had a part
            peer.down = not taken
            if peer.down:
                peer.next = (seq + 1 if at else seq, 0)  # a record of which a part has left keeps its number
                return False
            last = at + PIECE_BYTES >= len(payload)
            peer.next = (seq + 1, 0) if last else (seq, at + PIECE_BYTES)
            peer.flight.append((peer.next, HEADER.size + len(content)))
            peer.flying += HEADER.size + len(content)
        return True

    def _wait(self, peer, flags, content, timeout):
        """Write a frame as soon as the peer's window and the connection let us."""
        begin, size, seq = time.monotonic(), HEADER.size + len(content), peer.next[0]
        if peer.down:
            self._receive(0)  # it may have come back
        while peer.next[0] == seq:
            flags |= ACK_NOW if peer.flying + size > peer.window // 2 else 0
            if peer.open(size) and self._frame(peer, flags, content):
                return True
            now = time.monotonic()
            if not peer.open(size) and now - peer.probed >= PROBE_SECONDS and self._frame(peer, ACK_NOW):
                peer.probed = now
            if now - max(begin, peer.progress) >= (0 if peer.down else timeout):
                return False
            self._receive(0.05, peer.push if peer.open(size) else None)
        return False

    def _frame(self, peer, flags, content=b""):
        """Write a frame of one record, one piece or nothing, if the connection takes it now."""
        if peer.push is None:
            peer.push = self._socket(zmq.PUSH, peer.address, IMMEDIATE=1, SNDHWM=32, RCVHWM=0, RECONNECT_IVL=10,
                                     RECONNECT_IVL_MAX=125, CONNECT_TIMEOUT=700, HANDSHAKE_IVL=3000, MAXMSGSIZE=4096,
                                     HEARTBEAT_IVL=1500, HEARTBEAT_TIMEOUT=2500, HEARTBEAT_TTL=6000, TCP_MAXRT=4000,
                                     **(self.gate.connects(peer.keys[0]) if self.gate else {}))
            peer.push.connect(endpoint(peer.address))
        header = HEADER.pack(VERSION, flags, peer.pid, self.pid, 0, self.cluster, self.incarnation, peer.next[0],
                             peer.incarnation, *peer.place(), WINDOW, 1 if content else 0, peer.next[1])
        # Asking makes ZeroMQ notice a connection that has gone; send does that only once in a while.
        if not peer.push.getsockopt(zmq.EVENTS) & zmq.POLLOUT:
            peer.blocked = peer.blocked or time.monotonic()
            # By then its heartbeat has ended a connection that takes nothing: there is none.
            if len(peer.keys) > 1 and time.monotonic() - peer.blocked > OTHER_KEY_SECONDS:
                peer.keys.reverse()
                peer.push.close(0)
                peer.push, peer.blocked = None, 0.0
            return False
        peer.blocked = 0.0
        try:
            peer.push.send(header + content, zmq.NOBLOCK)
        except zmq.Again:  # the connection has broken since
            return False
        peer.untold, peer.owed = 0, False
        return True

    def _receive(self, seconds, writable=None):
        """Wait for frames, or until the socket writable is, and take all that have come."""
        poller = zmq.Poller()
        poller.register(self.pull, zmq.POLLIN)
        if self.gate:
            poller.register(self.gate.zap, zmq.POLLIN)
        if writable is not None:
            poller.register(writable, zmq.POLLOUT)
        unable = any(p.owed for p in self.peers.values())  # to write an acknowledgment: try again soon
        poller.poll(1000 * (min(seconds, 0.05) if unable else seconds))
        if self.gate:
            self.gate.serve(self.counts)
        while True:
            try:
                self._take(self.pull.recv_multipart(zmq.NOBLOCK, copy=False))
            except zmq.Again:
                break
            except ValueError as refusal:
                self.counts[f"refused: {refusal}"] += 1
        while self.inbox and self.inbox[0].message is None:
            self._pop()
        for p in self.peers.values():
            if p.owed:
                self._frame(p, 0)

    def _take(self, parts):
        """Take one frame, given as the parts of a message. ValueError says why it is refused."""
        if len(parts) > 2 or len(parts) == 2 and len(parts[0].buffer) < HEADER.size:
            raise ValueError("malformed")
        frame = b"".join(part.bytes for part in parts)
        h, records = parse(frame)
        if self.gate and self.gate.owner(parts[0]) != h.sender:
            raise ValueError("another's identity")
        peer = self.peers.get(h.sender)
        if h.cluster != self.cluster or h.to != self.pid or peer is None:
            raise ValueError("cluster, destination or sender")
        if h.incarnation in peer.earlier:
            raise ValueError("older incarnation")
        if h.incarnation != peer.incarnation:
            peer.begin(h.incarnation)
        if h.ack_incarnation == self.incarnation:
            peer.window = h.window
            peer.acked((h.ack_seq, h.ack_offset), h.flags)
        if records and peer.waiting + len(frame) > 2 * WINDOW + MAX_FRAME:
            raise ValueError("window")
        complete = peer.take(h, records)
        if records:
            items = [Item(peer, h.incarnation, (h.seq + n, 0), self._message(h.sender, r), 0, False)
                     for n, r in enumerate(complete, 1)]
            items = items or [Item(peer, h.incarnation, peer.want, None, 0, False)]
            items[-1] = items[-1]._replace(size=len(frame), asks=bool(h.flags & ACK_NOW))
            self.inbox.extend(items)
            peer.queued += len(items)
            peer.waiting += len(frame)
        elif h.flags & ACK_NOW:
            self._frame(peer, 0)  # if the connection takes nothing now, we are asked again

    def _message(self, sender, r):
        """What recv returns for a record, or None."""
        if r.length > self.max_message or r.length != len(r.data):
            self.counts["refused: too large"] += 1
            return None
        try:
            return sender, r.msgid, decode(r.kind, r.data)
        except Exception:  # whatever cbor2 makes of it
            self.counts["refused: undecodable"] += 1
            return None
