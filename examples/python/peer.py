"""One peer of a server: the streams to it and from it, without sockets."""
import time
from collections import deque

from frames import INITIAL_WINDOW, PIECE, TAKING


class Peer:
    """One other server. Places in a stream are (number of a record, offset in its payload)."""

    def __init__(self, pid, address, max_message, counts, keys=()):
        self.pid, self.address = pid, address
        self.keys = list(keys)  # its public keys, the one first that a connection expects
        self.max_message, self.counts = max_message, counts
        # The stream to it.
        self.push = None  # the socket, once something was to be written
        self.blocked = 0.0  # since when that takes nothing; 0.0 if it does
        self.next = (1, 0)  # where the next frame begins
        self.flight = deque()  # (end, bytes) of each frame that it has not acknowledged
        self.flying, self.window = 0, INITIAL_WINDOW
        self.progress = self.probed = 0.0  # when it last acknowledged, and when we last asked it to
        self.down = False
        # The stream from it.
        self.incarnation, self.earlier = 0, deque(maxlen=8)
        self.want = None  # where the next frame must begin; None before the first
        self.part = None  # the message id, kind, length and bytes of a large message that is not complete
        self.queued, self.taken = 0, (0, 0)  # its items in the inbox, and the place before the first of them
        self.waiting = 0  # bytes of its frames in the inbox, those of earlier incarnations too
        self.untold, self.owed = 0, False  # bytes taken since the last acknowledgment; whether one is due

    def open(self, size):
        """Whether a frame may be written: more than the window only if nothing is on its way."""
        return not self.flying or self.flying + size <= self.window

    def acked(self, place, flags):
        if flags & TAKING:
            self.progress = time.monotonic()
        given_up = (self.next[0] + 1, 0)  # the end of a record of which a part was written
        if place > (given_up if self.next[1] else self.next):
            return  # it is beyond what was written
        if self.next[1] and place == given_up:
            self.next = place
        while self.flight and self.flight[0][0] <= place:
            self.flying -= self.flight.popleft()[1]
            self.progress = time.monotonic()

    def begin(self, incarnation):
        """Hear a new incarnation."""
        self.counts["lost"] += self.part is not None
        if self.incarnation:
            self.earlier.append(self.incarnation)
            self.flight.clear()  # the new life acknowledges nothing that the old one got
            self.flying = 0
        self.incarnation, self.want, self.part, self.queued, self.untold = incarnation, None, None, 0, 0

    def place(self):
        """What we acknowledge: everything before it was taken from the inbox, or will never come."""
        return self.taken if self.queued else self.want or (0, 0)

    def take(self, h, records):
        """Take a frame of this peer, and return the records that are complete. ValueError says why it is refused."""
        begin = (h.seq + 1 if h.offset else h.seq, 0)  # the rest of a record is of no use
        if self.want is None:
            self.counts["missed"] += begin[0] - 1
            self.want = begin
        elif (h.seq, h.offset) > self.want:
            self.counts["lost"] += begin[0] - self.want[0]
            self.want, self.part = begin, None
        if not records:
            return []
        if (h.seq, h.offset) != self.want:
            raise ValueError("sequence")
        if not self.queued:
            self.taken = self.want
        if h.flags & PIECE:
            return self.assemble(records[0])
        self.want = (h.seq + h.count, 0)
        return records

    def assemble(self, r):
        """Add a piece to the large message that it is part of, and return that if it is complete."""
        seq, offset = self.want
        if offset == 0:
            self.part = r._replace(data=bytearray())
        whole, offset = self.part, offset + len(r.data)
        if whole.length <= self.max_message:
            whole.data.extend(r.data)
        if offset < whole.length:
            self.want = (seq, offset)
            return []
        self.want, self.part = (seq + 1, 0), None
        return [whole._replace(data=bytes(whole.data))]
