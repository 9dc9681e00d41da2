//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"net"
	"time"
)

func init() {
	register(row{
		name:    "twice",
		promise: "nothing is delivered twice",
		fault:   "a proxy passes every third frame on twice",
		quick:   true,
		run:     func(t *trial) error { return frames(t, 3, 0) },
	}, row{
		name:    "crossed",
		promise: "messages arrive in the order sent, though frames overtake one another",
		fault:   "a proxy lets every fifth frame be overtaken by the next",
		quick:   true,
		run:     func(t *trial) error { return frames(t, 0, 5) },
	})
}

func frames(t *trial, twice, late int) error {
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	proxies, err := f.behind(f.ids()...)
	if err != nil {
		return err
	}
	if err := f.startUnder(load{Rate: 500, Size: 200, Streams: 2}); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	t.say("frames are disturbed")
	for _, p := range proxies {
		p.change(disturbed(twice, late))
	}
	during, err := t.sleep(scale(t, 5*time.Second, 2*time.Second))
	if err != nil {
		return err
	}
	for _, p := range proxies {
		p.change(nil)
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.fail(b.traffic(500, nil, before, during, after)...)
	refused, lost := uint64(0), uint64(0)
	for i := range b.lives {
		for _, p := range b.lives[i].counters.Peers {
			refused += p.Refused["sequence"] + p.Repeated
			lost += p.Lost
		}
	}
	if twice > 0 && refused == 0 {
		t.fail(found(oracleVacuity, "no frame came twice"))
	}
	t.figure("delivered", "%d of %d, with %d lost and counted as connections were changed", b.received, b.handedAll, lost)
	t.figure("frames that had come before", "%d", refused)
	return nil
}

// lateness is how long a frame is kept that is to be overtaken, if no other comes.
const lateness = 20 * time.Millisecond

// disturbed passes every frame on, and on the way to the server some of them twice, or
// after the next; 0 is never. What is ZeroMQ's own stays in its place.
func disturbed(twice, late int) passing {
	return func(to, from *net.TCPConn, up bool) error {
		if !up {
			_, err := io.Copy(to, from)
			return err
		}
		if _, err := io.CopyN(to, from, greetingBytes); err != nil {
			return err
		}
		frames, done := make(chan []byte), make(chan struct{})
		defer close(done)
		go func() { // It ends with the connection, or with the other end's.
			defer close(frames)
			for {
				frame, err := readMessage(from)
				if err != nil {
					return
				}
				select {
				case frames <- frame:
				case <-done:
					return
				}
			}
		}()
		var kept []byte
		for n := 1; ; {
			var waited <-chan time.Time
			if kept != nil {
				waited = time.After(lateness)
			}
			var out []byte
			select {
			case frame, ok := <-frames:
				if !ok {
					return io.EOF
				}
				switch own := frame[0]&commandFlag != 0; {
				case own:
					out = frame
				case kept != nil:
					out, kept = append(frame, kept...), nil
				case late > 0 && n%late == 0:
					kept = frame
				case twice > 0 && n%twice == 0:
					out = append(frame, frame...)
				default:
					out = frame
				}
				n++
			case <-waited:
				out, kept = kept, nil
			}
			if _, err := to.Write(out); err != nil {
				return err
			}
		}
	}
}

// ZMTP 3.1: what goes before the frames, and the flags of a frame.
const (
	greetingBytes = 64
	moreFlag      = 1
	longFlag      = 2
	commandFlag   = 4
)

// readMessage reads a command, or all frames of a message.
func readMessage(r io.Reader) (message []byte, err error) {
	for {
		head := make([]byte, 2, 9)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, err
		}
		size := uint64(head[1])
		if head[0]&longFlag != 0 {
			head = head[:9]
			if _, err := io.ReadFull(r, head[2:]); err != nil {
				return nil, err
			}
			size = binary.BigEndian.Uint64(head[1:])
		}
		message = append(message, head...)
		at := len(message)
		message = append(message, make([]byte, min(size, 1<<24))...)
		if _, err := io.ReadFull(r, message[at:]); err != nil {
			return nil, err
		}
		if head[0]&moreFlag == 0 {
			return message, nil
		}
	}
}
