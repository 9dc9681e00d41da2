//go:build cgo && !nozmq

package examples_test

import (
	"strings"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

// attack sends frames to server 1 as whoever these options make the socket.
func attack(t *testing.T, k *keyring, options func(s *zmq4.Socket) error, messages ...[][]byte) {
	t.Helper()
	s, err := zmq4.NewSocket(zmq4.PUSH)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, err := range []error{s.SetLinger(0), s.SetSndtimeo(2 * time.Second), options(s), s.Connect("tcp://" + k.cfg.Peers[1].Address)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range messages {
		// Who is not let in waits here for a queue, or for nothing.
		if _, err := s.SendMessage(m); err != nil {
			t.Logf("sending: %v", err)
		}
	}
}

// withKey are the options of a socket with a key pair, for a connection to server 1.
func (k *keyring) withKey(public, secret string) func(s *zmq4.Socket) error {
	return func(s *zmq4.Socket) error { return s.ClientAuthCurve(k.cfg.Peers[1].PublicKey, public, secret) }
}

// frame is a well-formed frame with one string, from a server to server 1.
func frame(from uint16, seq uint64, text string) []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{To: 1, From: from, Cluster: wire.ClusterHash("examples"), Incarnation: 7, Start: wire.Position{Seq: seq}, Count: 1}
	h.Put(b)
	b = wire.AppendRecordHeader(b, 1, uint8(codec.String), len(text))
	return append(b, text...)
}

// A forger is whoever sends in the name of server 0 without its key. What it sends is not printed, and what server 0
// itself sends after that is.
func TestPythonWithKeysTakesNothingFromForgers(t *testing.T) {
	t.Parallel()
	needPython(t)
	stranger, strangers, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		as     func(k *keyring) func(s *zmq4.Socket) error
		reason string // that is counted; without one the handshake fails before anything can be
	}{
		{"in plaintext", func(k *keyring) func(s *zmq4.Socket) error { return func(s *zmq4.Socket) error { return nil } }, ""},
		{"with a key that is not listed", func(k *keyring) func(s *zmq4.Socket) error { return k.withKey(stranger, strangers) }, "unlisted key"},
		{"with the key of server 2", func(k *keyring) func(s *zmq4.Socket) error { return k.withKey(k.cfg.Peers[2].PublicKey, k.secret[2]) }, "another's identity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeyring(t)
			p, stdin := startPython(t, k, "-refusals")
			frames := [][][]byte{{frame(0, 1, "forged")}}
			if tt.reason == "another's identity" {
				// Behind it, on the same connection, server 2 is heard as itself.
				frames = append(frames, [][]byte{frame(2, 1, "as myself")})
			}
			attack(t, k, tt.as(k), frames...)
			if tt.reason != "" {
				p.expect(t, "the word that the forger is refused", "refused: "+tt.reason)
			}
			if len(frames) > 1 {
				p.expect(t, "what server 2 says of itself", "from 2: 'as myself'")
			}
			k.node(t, 0).Outbox() <- &cluster.Envelope{Pid: 1, Msg: "genuine"}
			p.expect(t, "the message of server 0", "from 0: 'genuine'")
			stdin.Close()
			code := p.wait(t)
			if said := p.stdout.String() + p.stderr.String(); code != 0 || strings.Contains(said, "forged") || !strings.Contains(p.stderr.String(), tt.reason) {
				t.Errorf("it ended with %d, and said:\n%s", code, said)
			}
		})
	}
}

func TestPythonTakesFramesOfTwoPartsAndRefusesOtherForms(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	p, stdin := startPython(t, k)
	whole := frame(2, 2, "two parts")
	three, cut := frame(2, 1, "three parts"), frame(2, 1, "a header in two")
	attack(t, k, k.withKey(k.cfg.Peers[2].PublicKey, k.secret[2]),
		[][]byte{three[:wire.HeaderSize], three[wire.HeaderSize : wire.HeaderSize+5], three[wire.HeaderSize+5:]},
		[][]byte{cut[:10], cut[10:]},
		[][]byte{whole[:wire.HeaderSize+3], whole[wire.HeaderSize+3:]})
	p.expect(t, "the frame of two parts", "from 2: 'two parts'")
	stdin.Close()
	p.wait(t)
	if said := p.stdout.String() + p.stderr.String(); strings.Contains(said, "three parts") || strings.Contains(said, "a header") || !strings.Contains(said, "'refused: malformed': 2") {
		t.Errorf("it said:\n%s", said)
	}
}
