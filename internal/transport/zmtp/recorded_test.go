package zmtp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

// recordings is where connections between this package and libzmq are kept, byte by byte. They hold without libzmq, and on
// any system, that what it says is understood, and that what it has understood is still what is said.
const recordings = "testdata/libzmq.json"

// A recording is one connection: the handshake, and one message.
type recording struct {
	Libzmq  string // its version
	Listens bool   // libzmq does, or else it dials
	Keyed   bool
	Ours    string // what was said, in hexadecimal
	Theirs  string
}

func (r recording) name() string {
	text := "libzmq dials"
	if r.Listens {
		text = "libzmq listens"
	}
	if r.Keyed {
		text += ", with keys"
	}
	return text
}

// recordedText is the message.
var recordedText = strings.Repeat("what was recorded ", 20)

// recordedKeys are those of one end in all recordings.
func recordedKeys(t testing.TB, end byte) *curve.Keys {
	t.Helper()
	k, err := curve.NewKeys([32]byte{0: end, 31: 64})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// mechanism is our part. It draws the same keys and nonces each time.
func (r recording) mechanism(t testing.TB, nc net.Conn) mechanism {
	t.Helper()
	server, client := recordedKeys(t, 1), recordedKeys(t, 2)
	random := rand.NewChaCha8([32]byte{3})
	switch {
	case r.Listens && !r.Keyed:
		return null{pushing}
	case r.Listens:
		return curveClient{curve.NewClient(curve.ClientOptions{
			Keys: client, Server: server.Public(), Metadata: pushing.properties(), Check: pushing.check, Random: random,
		})}
	case !r.Keyed:
		return null{pulling}
	}
	h := newHandshakes()
	t.Cleanup(h.workers.Wait)
	return curveServer{curve.NewServer(&curve.ServerOptions{
		Keys: server, Metadata: pulling.properties(), Check: pulling.check, Random: random,
		Admit: func(key [32]byte) bool { return key == client.Public() },
	}), h, h.enter(nc)}
}

// play goes through the connection, and returns the message that came from libzmq.
func (r recording) play(t testing.TB, nc net.Conn) (text string) {
	t.Helper()
	m := r.mechanism(t, nc)
	_, rest, err := shake(nc, m, func() {})
	if err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	_, seal := m.proved()
	if r.Listens {
		if _, err := nc.Write(appendFrame(nil, seal, 0, []byte(recordedText))); err != nil {
			t.Fatal(err)
		}
		return recordedText
	}
	nc.SetDeadline(time.Now().Add(limit))
	d := decoder{most: wire.MaxFrame, seal: seal}
	for b := make([]byte, 4096); ; {
		used, k, err := d.next(rest)
		switch rest = rest[used:]; {
		case err != nil:
			t.Fatal(err)
		case k == isMessage:
			return string(d.head) + string(d.tail)
		case k == nothing:
			n, err := nc.Read(b)
			if err != nil {
				t.Fatalf("before the message came: %v", err)
			}
			rest = b[:n]
		}
	}
}

// A replay is a connection on which the other end says what was recorded.
type replay struct {
	net.Conn // nil
	io.Reader
	said bytes.Buffer
}

func (p *replay) Read(b []byte) (int, error)       { return p.Reader.Read(b) }
func (p *replay) Write(b []byte) (int, error)      { return p.said.Write(b) }
func (p *replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *replay) SetDeadline(time.Time) error      { return nil }
func (p *replay) SetWriteDeadline(time.Time) error { return nil }

func TestConnectionsWithLibzmqThatWereRecordedAreUnderstoodAndSaidAgain(t *testing.T) {
	text, err := os.ReadFile(recordings)
	if err != nil {
		t.Fatal(err)
	}
	var all []recording
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Errorf("%d connections were recorded, want 4", len(all))
	}
	for _, r := range all {
		t.Run(r.name(), func(t *testing.T) {
			theirs, err := hex.DecodeString(r.Theirs)
			if err != nil {
				t.Fatal(err)
			}
			for _, pieces := range []bool{false, true} {
				p := &replay{Reader: bytes.NewReader(theirs)}
				if pieces {
					p.Reader = &byteByByte{p.Reader}
				}
				if got := r.play(t, p); got != recordedText {
					t.Errorf("the message is %q", got)
				}
				if d := cmp.Diff(r.Ours, hex.EncodeToString(p.said.Bytes())); d != "" {
					t.Errorf("what libzmq has understood is not what is said, byte by byte %t:\n%s", pieces, d)
				}
			}
		})
	}
}

// byteByByte reads one byte at a time.
type byteByByte struct{ io.Reader }

func (r *byteByByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(len(b), 1)]) }
