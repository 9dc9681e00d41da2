"""A server with all capabilities of docs/wire.md, section 13, for one peer, the server 0. It follows that text and shares no code
with the library.

    python3 capable.py Config.json 1

It sends back strings and bytes, in the stream in which they came; answers requests, but for those that say otherwise (see deliver); and
does what the lines of its standard input say (see obey). It ends with its input. Of the environment, CAPS is what it announces, and LOSS
how much it drops of the frames with content that come, and that it writes.
"""
import hashlib
import json
import os
import queue
import random
import struct
import sys
import threading
import time
from collections import Counter

import zmq

PIECE, ACK_NOW, RESEND, CONFIRM, URGENT = 1, 2, 8, 16, 32  # flags
CAN_RESEND, CAN_CONFIRM, CAN_CALL, CAN_URGENT = 2, 4, 8, 16  # capabilities
STRING, BYTES, REQUEST, REPLY, FAILURE = 16, 17, 22, 23, 24  # kinds
UNKNOWN_TYPE, UNDECODABLE = 3, 4  # reasons
HEADER, RESENDING = struct.Struct("<BBHHHQQQQQIIII"), struct.Struct("<QQQIIII")
RECORD, ENTRY, CALL = struct.Struct("<B3xIq"), struct.Struct("<QIBxxx"), struct.Struct("<QB")
WINDOW, PIECE_BYTES = 256 << 10, 128 << 10
ASK_SECONDS = 0.25
CAPS, LOSS = int(os.environ.get("CAPS", "31")), float(os.environ.get("LOSS", "0"))


def say(*words):
    print(*words, flush=True)


def whole(place):
    """The first place from there on where a record begins."""
    return (place[0] + 1, 0) if place[1] else place


class Frame:
    """One that was written and is not acknowledged. Places are (number, offset)."""

    def __init__(self, flags, start, end, content):
        self.flags, self.start, self.end, self.content = flags, start, end, content
        self.kept = bool(CAPS & CAN_RESEND)
        self.early = False  # it was written before the peer was first heard
        self.due, self.again = False, 0.0


class Out:
    """The stream to the peer."""

    def __init__(self):
        self.next = (1, 0)
        self.queue = []  # (kind, payload, message id, whether to confirm)
        self.frames, self.window, self.flying = [], WINDOW, 0
        self.done = self.wanted = (1, 0)
        self.asked, self.pause = 0.0, 0.1

    def kept(self):
        return next((f.start for f in self.frames if f.kept), self.next)

    def acknowledged(self, place):
        if self.done < place <= self.next:
            self.done = place
            while self.frames and self.frames[0].end <= place:
                self.flying -= HEADER.size + len(self.frames.pop(0).content)

    def reported(self, wanted, held):
        """The peer has all before wanted, and misses what lies between that and held."""
        if wanted > self.wanted:
            self.wanted, self.pause = wanted, 0.1
        if wanted != self.wanted or wanted >= held:
            return
        missing = [f for f in self.frames if f.start < held and f.end > wanted]
        if any(f.early for f in missing):
            for f in self.frames:
                f.kept = f.kept and not f.early
        now = time.monotonic()
        repeated = False
        for f in missing:
            if f.kept and not f.due and now - f.again > self.pause:
                repeated = repeated or f.again > 0
                f.due = True
        if repeated:
            self.pause = min(2 * self.pause, 1.6)

    def forget(self):
        self.frames, self.flying = [], 0


class In:
    """The stream from the peer, in one incarnation of it."""

    def __init__(self):
        self.want = self.horizon = None
        self.held = {}  # what came too early, by its start
        self.part = None  # the header of a record that comes in pieces, and its bytes
        self.refused = []  # entries that the peer is to be told
        self.owes = self.tells = False  # an acknowledgment; what is missing
        self.tell_at, self.pause = 0.0, 0.025

    def held_from(self):
        if not self.tells or self.want is None or self.want >= self.horizon:
            return self.want or (0, 0)
        return min([*self.held, self.horizon])


class Server:
    def __init__(self, path, pid):
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        address = {p["id"]: p["address"].removeprefix("tcp://") for p in config["peers"]}
        self.pid, self.peer = pid, 0
        self.cluster = int.from_bytes(hashlib.sha256(config["cluster"].encode()).digest()[:8], "little")
        self.incarnation = int.from_bytes(os.urandom(8), "little") or 1
        self.call = self.incarnation
        self.chance, self.counts = random.Random(pid), Counter()
        context = zmq.Context()
        self.pull, self.push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        for s, name, value in [
                (self.pull, "RCVHWM", 0), (self.pull, "MAXMSGSIZE", 256 << 10), (self.push, "IMMEDIATE", 1), (self.push, "SNDHWM", 8),
                (self.push, "RCVHWM", 0), (self.push, "RECONNECT_IVL", 10), (self.push, "RECONNECT_IVL_MAX", 125), (self.push, "LINGER", 0),
                (self.push, "HEARTBEAT_IVL", 1500), (self.push, "HEARTBEAT_TIMEOUT", 2500), (self.push, "HEARTBEAT_TTL", 6000)]:
            s.setsockopt(getattr(zmq, name), value)
        self.pull.bind("tcp://" + address[pid])
        self.push.connect("tcp://" + address[self.peer])
        self.out = {urgent: Out() for urgent in (False, True)}
        self.come = {urgent: In() for urgent in (False, True)}
        # What is known of the peer: its incarnation, what that has announced as far as it is known here, and whether it resends.
        self.theirs, self.knows, self.resends, self.earlier = 0, 0, False, set()
        self.owes_word = False

    # Writing

    def frame(self, urgent, flags, start, count, content=b"", announce=False):
        """Write a frame, if the connection takes it now."""
        if not self.push.getsockopt(zmq.EVENTS) & zmq.POLLOUT:
            return False
        out, come = self.out[urgent], self.come[urgent]
        acknowledged, place = 0, (0, 0)
        if self.theirs and not announce and not (urgent and not self.knows & CAN_URGENT):
            acknowledged, place = self.theirs, come.want or (0, 0)
            if come.refused and not (flags & CONFIRM and not count):
                place = min(place, (come.refused[0][0], 0))
        elif not urgent:
            place = (CAPS, start[0] - out.kept()[0] + 1 if CAPS & CAN_RESEND else 0)
        flags |= (RESEND if self.resends else 0) | (URGENT if urgent else 0)
        head = HEADER.pack(1, flags, self.peer, self.pid, 0, self.cluster, self.incarnation, start[0], acknowledged, *place, WINDOW, count, start[1])
        if self.resends:
            (kept, at), (want, within), (held, behind) = min(out.kept(), start), come.want or (0, 0), come.held_from()
            head += RESENDING.pack(kept, want, held, at, within, behind, 0)
        if count and self.chance.random() < LOSS:
            self.counts["dropped out"] += 1
            return True
        try:
            self.push.send(head + content, zmq.NOBLOCK)
        except zmq.Again:  # the connection has broken since it was asked
            return False
        return True

    def send(self, kind, payload, msgid=0, urgent=False, confirm=False):
        self.out[urgent].queue.append((kind, payload, msgid, confirm))

    def write(self, urgent):
        """Write what is to be sent again, and what is queued, as far as the window goes; and ask."""
        out = self.out[urgent]
        if urgent and not self.knows & CAN_URGENT:
            return
        for f in out.frames:
            if f.due and self.frame(urgent, f.flags, f.start, 1, f.content):
                f.due, f.again = False, time.monotonic()
                self.counts["resent"] += 1
        while out.queue and self.record(urgent, *out.queue[0]):
            pass
        closed = bool(out.queue)
        missing = self.resends and out.frames and out.wanted < out.frames[-1].end
        if (closed or missing) and time.monotonic() - out.asked > ASK_SECONDS and self.frame(urgent, ACK_NOW, out.next, 0):
            out.asked = time.monotonic()

    def record(self, urgent, kind, payload, msgid, confirm):
        """Write the next frame of the first record in the queue; False if it has to wait."""
        out = self.out[urgent]
        (number, offset), large = out.next, len(payload) > PIECE_BYTES
        content = (b"" if offset else RECORD.pack(kind, len(payload), msgid)) + payload[offset:offset + PIECE_BYTES]
        size = HEADER.size + len(content)
        if out.flying and out.flying + size > out.window:
            return False
        flags = PIECE if large else 0
        if confirm and self.resends and self.knows & CAN_CONFIRM:
            flags |= CONFIRM
        now = ACK_NOW if flags & CONFIRM or out.flying + size > out.window // 2 else 0
        if not self.frame(urgent, flags | now, out.next, 1, content):
            return False
        last = offset + PIECE_BYTES >= len(payload)
        end = (number + 1, 0) if last else (number, offset + PIECE_BYTES)
        out.frames.append(Frame(flags, out.next, end, content))
        out.flying += size
        out.next = end
        if last:
            out.queue.pop(0)
        return True

    def acknowledge(self, urgent):
        come, now = self.come[urgent], time.monotonic()
        if self.resends and come.want and come.want < come.horizon and now > come.tell_at:
            come.tells = come.owes = True
            come.pause = min(2 * come.pause, 0.8)
            come.tell_at = now + come.pause
        if not come.owes or urgent and not self.knows & CAN_URGENT:
            return
        named = [e for e in come.refused if e[0] < come.want[0]]
        entries = b"".join(ENTRY.pack(*e) for e in named)
        if self.frame(urgent, CONFIRM if named else 0, self.out[urgent].next, 0, entries):
            come.owes = False

    # Reading

    def take(self, b):
        version, flags, to, sender, reserved, cluster, incarnation, number, acknowledged, place, offset, window, count, start = HEADER.unpack_from(b)
        assert (version, to, sender, reserved, cluster) == (1, self.pid, self.peer, 0, self.cluster) and incarnation and flags < 64, "the header"
        start, place, kept, body = (number, start), (place, offset), None, b[HEADER.size:]
        wanted = held = None
        if flags & RESEND:
            assert CAPS & CAN_RESEND, "resending was not announced"
            k, w, h, ko, wo, ho, reserved = RESENDING.unpack_from(body)
            kept, wanted, held, body = (k, ko), (w, wo), (h, ho), body[RESENDING.size:]
            assert not reserved and (1, 0) <= kept <= start, "what is kept"
        assert not flags & CONFIRM or flags & RESEND and CAPS & CAN_CONFIRM, "confirming was not announced"
        assert not flags & URGENT or flags & RESEND and not flags & (PIECE | CONFIRM) and CAPS & CAN_URGENT, "the urgent stream was not announced"
        if incarnation in self.earlier:
            self.counts["older"] += 1
            return
        if incarnation != self.theirs:
            self.begin(incarnation)
        urgent = bool(flags & URGENT)
        if acknowledged == 0 and not urgent:
            self.knows = place[0] & CAPS
            if self.knows & CAN_RESEND and place[1] and kept is None:
                kept = (number - place[1] + 1, 0)
            self.owes_word = self.owes_word or bool(not count and flags & ACK_NOW and place[0] & (CAN_CONFIRM | CAN_CALL))
        self.resends = self.resends or bool(flags & RESEND or self.knows & CAN_RESEND)
        if acknowledged == self.incarnation:
            self.out[urgent].window = window
            self.out[urgent].acknowledged(place)
            if flags & RESEND:
                self.out[urgent].reported(wanted, held)
            if flags & CONFIRM and not count:
                say("named", *(ENTRY.unpack_from(body, at)[2] for at in range(0, len(body), ENTRY.size)))
        self.follow(urgent, start, kept)
        come = self.come[urgent]
        if count:
            self.place(urgent, start, (flags, count, body))
        elif flags & ACK_NOW:
            come.tells = come.owes = True

    def begin(self, incarnation):
        first = not self.theirs
        self.earlier.add(self.theirs)
        self.theirs, self.knows, self.resends = incarnation, 0, False
        for urgent, out in self.out.items():
            self.come[urgent] = In()
            for f in out.frames:
                f.early = True
            if not first:
                out.forget()

    def follow(self, urgent, start, kept):
        """Take in where the peer's stream stands, and give up what it does not keep."""
        come = self.come[urgent]
        if kept:
            come.refused = [e for e in come.refused if e[0] + e[1] > kept[0]]
        if come.want is None:
            come.want = come.horizon = min(whole(start), whole(kept or start))
        while kept and come.want < kept:
            come.held = {s: f for s, f in come.held.items() if s >= come.want}
            if come.want not in come.held:
                self.counts["given up"] += 1
                come.want, come.part = whole(min([*come.held, kept])), None
            if come.want in come.held:
                self.content(urgent, come.want, *come.held.pop(come.want))
        come.horizon = max(come.horizon, start)

    def place(self, urgent, start, frame):
        come = self.come[urgent]
        come.owes = True
        self.counts["frames"] += 1
        if start < come.want:
            self.counts["repeated"] += 1
        elif start > come.want:
            come.held[start] = frame
            self.counts["early"] += 1
        else:
            self.content(urgent, start, *frame)
            while come.want in come.held:
                self.content(urgent, come.want, *come.held.pop(come.want))
            come.pause, come.tell_at = 0.025, time.monotonic() + 0.025
        come.tells = come.tells and come.want < come.horizon

    def content(self, urgent, start, flags, count, body):
        """Take what a frame in its place carries."""
        come, at, msgid = self.come[urgent], 0, 0
        if flags & PIECE:
            if not start[1]:
                come.part, body = (RECORD.unpack_from(body), bytearray()), body[RECORD.size:]
            (kind, length, msgid), payload = come.part
            payload += body
            complete = len(payload) >= length
            come.want = (start[0] + 1, 0) if complete else (start[0], start[1] + len(body))
            if complete:
                self.deliver(urgent, start[0], kind, msgid, bytes(payload), flags)
            return
        for n in range(count):
            if n and body[at] >= 128:
                kind, length, msgid = body[at] - 128, struct.unpack_from("<H", body, at + 1)[0], msgid + 1
                at += 3
            else:
                kind, length, msgid = RECORD.unpack_from(body, at)
                at += RECORD.size
            self.deliver(urgent, start[0] + n, kind, msgid, body[at:at + length], flags)
            at += length
        assert at == len(body), "bytes behind the records"
        come.want = (start[0] + count, 0)

    def deliver(self, urgent, number, kind, msgid, payload, flags):
        def refuse(why):
            if flags & CONFIRM:
                self.come[urgent].refused.append((number, 1, why))

        if kind == STRING and payload == b"refuse":
            refuse(UNDECODABLE)
        elif kind in (STRING, BYTES):
            self.send(kind, payload, msgid, urgent)
        elif kind in (REPLY, FAILURE):
            _, what = CALL.unpack_from(payload)
            say("reply" if kind == REPLY else "failure", what, payload[CALL.size:].decode())
        elif kind == REQUEST:
            assert CAPS & CAN_CALL, "calls were not announced"
            call, what = CALL.unpack_from(payload)
            text = payload[CALL.size:]
            if text == b"fail":
                self.send(FAILURE, CALL.pack(call, 0) + b"as it was asked", msgid)
            elif text == b"refuse":
                self.send(FAILURE, CALL.pack(call, UNKNOWN_TYPE) + b"not known here", msgid)
                refuse(UNKNOWN_TYPE)
            else:
                for _ in range(2 if text == b"twice" else 1):
                    self.send(REPLY, CALL.pack(call, what) + text, msgid)
        else:
            refuse(UNDECODABLE)
            self.counts["undecodable"] += 1

    # What the test says

    def obey(self, line):
        command, _, text = line.partition(" ")
        if command == "call":
            self.call = (self.call + 1) % 2**64
            self.send(REQUEST, CALL.pack(self.call, STRING) + text.encode())
        elif command == "strange":  # of a type that nobody has registered
            self.send(19, struct.pack("<H", 9) + b"7:nothing"[:9] + b"\xa0", confirm=True)
        elif command == "counts":
            say("counts", json.dumps({**self.counts, "open": sum(len(o.frames) for o in self.out.values())}))

    def run(self):
        lines = queue.Queue()
        threading.Thread(target=read, args=[lines], daemon=True).start()
        say("ready")
        while True:
            self.pull.poll(5)
            for _ in range(200):
                try:
                    frame = self.pull.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if LOSS and HEADER.unpack_from(frame)[12] and self.chance.random() < LOSS:
                    self.counts["dropped in"] += 1
                else:
                    self.take(frame)
            if self.owes_word and self.frame(False, 0, self.out[False].next, 0, announce=True):
                self.owes_word = False
            for urgent in (True, False):
                self.acknowledge(urgent)
                self.write(urgent)
            try:
                line = lines.get_nowait()
            except queue.Empty:
                continue
            if line is None:
                return
            self.obey(line)


def read(lines):
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    lines.put(None)


if __name__ == "__main__":
    Server(sys.argv[1], int(sys.argv[2])).run()
