package zmtp

import (
	"io"
	"net"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// shake makes the handshake on a new connection, within transport.HandshakeTimeout. It calls further for each
// step that the peer has done. It returns what the peer's greeting said, and what came behind the handshake. The
// error is one of the causes; the mechanism's keys are wiped then.
func shake(nc net.Conn, m mechanism, further func()) (peer greeting, rest []byte, err error) {
	defer func() {
		if err != nil {
			m.wipe()
		}
	}()
	if err := nc.SetDeadline(time.Now().Add(transport.HandshakeTimeout)); err != nil {
		return greeting{}, nil, errUnfinished
	}
	if _, err := nc.Write(m.greeting().put()); err != nil {
		return greeting{}, nil, errUnfinished
	}
	if peer, err = readGreeting(nc); err != nil {
		return peer, nil, err
	}
	if peer.mechanism != m.greeting().mechanism {
		return peer, nil, errMismatch
	}
	further()
	if rest, err = exchange(nc, m, further); err != nil {
		return peer, nil, err
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return peer, nil, errUnfinished
	}
	return peer, rest, nil
}

// readGreeting reads a greeting, and no more. It ends as soon as what came is none.
func readGreeting(r io.Reader) (greeting, error) {
	var b [greetingSize]byte
	for n := 0; n < len(b); {
		k, err := r.Read(b[n:])
		if n += k; foreign(b[:n]) {
			return greeting{}, errForeign
		}
		if err != nil && n < len(b) {
			return greeting{}, errUnfinished
		}
	}
	return parseGreeting(b[:])
}

// exchange exchanges the mechanism's commands, and returns what came behind the last. Each command
// of the peer's brings the handshake on or ends it, so there are few, and each is short. Nothing else
// may come.
func exchange(nc net.Conn, m mechanism, further func()) (rest []byte, err error) {
	first, err := m.start()
	if err != nil {
		return nil, err
	}
	if err := sendCommand(nc, first); err != nil {
		return nil, err
	}
	d := decoder{most: commandMost}
	b := make([]byte, 1024)
	for {
		n, err := nc.Read(b)
		if n == 0 && err != nil {
			return nil, errUnfinished
		}
		for rest := b[:n]; ; {
			used, k, err := d.next(rest)
			if err != nil || k != nothing && k != isCommand || d.parts > 0 {
				return nil, errBroken
			}
			if rest = rest[used:]; k == nothing {
				break
			}
			further()
			reply, done, err := m.next(d.body)
			if e := sendCommand(nc, reply); err == nil {
				err = e
			}
			if err != nil || done {
				if len(rest) == 0 {
					rest = nil // or else it would keep b in memory
				}
				return rest, err
			}
		}
	}
}

// sendCommand writes a command in a frame; nil is none.
func sendCommand(w io.Writer, body []byte) error {
	if body == nil {
		return nil
	}
	if _, err := w.Write(append(appendHeader(nil, flagCommand, len(body)), body...)); err != nil {
		return errUnfinished
	}
	return nil
}
