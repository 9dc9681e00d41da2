package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

// sessions are the two ends of a connection with keys: the one that seals, and the one that opens.
func sessions(t testing.TB) (push, pull *curve.Session) {
	t.Helper()
	server := securityOf(t, everybody)
	options, err := curveOptions(server)
	if err != nil {
		t.Fatal(err)
	}
	c, s := clientOf(t, securityOf(t, everybody), server), curve.NewServer(options)
	command, err := c.start()
	for done := false; !done && err == nil; {
		if command, _, err = s.Next(command); err == nil {
			command, done, err = c.next(command)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Session(), s.Session()
}

// A spoken is what a connection with keys carries, and what a decoder is to find in it.
type spoken struct {
	sent string
	want []string
}

// speak seals so many messages and commands, of all kinds and up to a size.
func speak(t testing.TB, seal *curve.Session, count, most int) (all spoken) {
	t.Helper()
	say := func(want string, parts ...[]byte) {
		for i, p := range parts {
			flags := byte(0)
			if i < len(parts)-1 {
				flags = curve.FlagMore
			}
			all.sent += string(seal.Seal(appendHeader(nil, 0, len(p)+curve.HeadSize), flags, p))
		}
		all.want = append(all.want, want)
	}
	text := func(most int) []byte { return bytes.Repeat([]byte{byte('a' + rand.N(26))}, rand.N(most)) }
	for range count {
		switch rand.N(5) {
		case 0:
			ping := ping(time.Second)
			all.sent += string(appendFrame(nil, seal, flagCommand, ping))
			all.want = append(all.want, fmt.Sprintf("command %q", ping))
		case 1:
			b := text(300)
			say(fmt.Sprintf("message %q", b), b)
		case 2:
			b := text(most)
			say(fmt.Sprintf("message %q", b), b)
		case 3:
			a, b := text(3000), text(3000)
			say(fmt.Sprintf("message %q", string(a)+string(b)), a, b)
		case 4:
			say("too many parts", text(100), text(10_000), text(100))
		}
	}
	return all
}

func TestSealedMessagesAndCommandsAreFoundInWhateverPiecesTheyCome(t *testing.T) {
	for pieces, sizes := range map[string]func() int{
		"whole": func() int { return 16 << 20 }, "few bytes": func() int { return 1 + rand.N(3) },
		"random": func() int { return 1 + rand.N(10_000) }, "reads": func() int { return scratchSize },
	} {
		t.Run(pieces, func(t *testing.T) {
			push, pull := sessions(t)
			all := speak(t, push, 20, 100_000)
			got, err := decodeAll(&decoder{most: wire.MaxFrame, seal: pull}, all.sent, sizes)
			if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(all.want, got); d != "" {
				t.Errorf("(-want +got):\n%.2000s", d)
			}
		})
	}
}

// Whatever bit is changed on the way, nothing comes of it and of what is behind it. The outer flags of a frame have no
// meaning with keys, and so a change of theirs may go unnoticed.
func TestNothingComesOfWhatWasChangedOnTheWay(t *testing.T) {
	for range 100 {
		push, pull := sessions(t)
		all := speak(t, push, 5, 10_000)
		b := []byte(all.sent)
		at, bit := rand.N(len(b)), byte(1)<<rand.N(8)
		b[at] ^= bit
		got, err := decodeAll(&decoder{most: wire.MaxFrame, seal: pull}, string(b), func() int { return 1 + rand.N(5_000) })
		if len(got) > len(all.want) || !slices.Equal(got, all.want[:len(got)]) {
			t.Fatalf("byte %d was changed by %#x, and something else comes of it", at, bit)
		}
		if err == nil && len(got) == len(all.want) && bit != flagMore && bit != flagCommand {
			t.Fatalf("byte %d was changed by %#x, and all comes as before", at, bit)
		}
	}
}

// The payload of a large record becomes the message itself without being copied, also where what it is can be known only once it is
// opened: as a rule it is what the one before was.
func TestALargePayloadThatIsSealedIsReadToWhereItStays(t *testing.T) {
	push, pull := sessions(t)
	frame := make([]byte, 64<<10)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}, Count: 1}
	h.Put(frame)
	d := &decoder{most: wire.MaxFrame, seal: pull}
	for i := range 3 {
		if _, err := decodeAll(d, string(appendFrame(nil, push, 0, frame)), func() int { return 100_000 }); err != nil {
			t.Fatal(err)
		}
		if got := string(d.head) + string(d.tail); got != string(frame) {
			t.Fatal("it is another frame")
		}
		if len(d.tail) == 0 || transport.IsPooled(d.head) || transport.IsPooled(d.tail) {
			t.Error("the payload is not by itself, in memory of its own")
		}
		// Behind the head lies the tail, unless they were copied.
		behind := uintptr(unsafe.Pointer(unsafe.SliceData(d.head))) + uintptr(len(d.head))
		if copied := behind != uintptr(unsafe.Pointer(unsafe.SliceData(d.tail))); copied != (i == 0) {
			t.Errorf("frame %d was copied: %v", i, copied)
		}
	}
}

func TestWhatIsNoZMTPOnAnEstablishedConnectionIsToldWithItsSender(t *testing.T) {
	server, self := securityOf(t, everybody), securityOf(t, everybody)
	good := strings.Repeat("g", 100)
	for name, c := range map[string]struct {
		size  int // of each message before
		count int
		keyed bool
		want  string
	}{
		"changed on the way":                             {size: 100, count: 1, keyed: true, want: curve.ErrBox.Error()},
		"changed on the way, where a goroutine reads it": {size: 130 << 10, count: 60, keyed: true, want: curve.ErrBox.Error()},
		"a reserved flag":                                {size: 100, count: 1, want: "a frame with the flags"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			var p peer
			var seal *curve.Session
			var l transport.Listener
			if c.keyed {
				l = listenTelling(t, endpoint, server, new(tally))
				p, seal = pushSealed(t, endpoint, self, server)
			} else {
				l = listen(t, endpoint)
				p = push(t, endpoint)
			}
			written := make(chan struct{})
			go func() { // It ends when all is written, or the connection has ended.
				defer close(written)
				for range c.count {
					p.Write(appendFrame(nil, seal, 0, bytes.Repeat([]byte("x"), c.size)))
				}
				bad := appendFrame(nil, seal, 0, []byte(good))
				if c.keyed {
					bad[len(bad)-1] ^= 1
				} else {
					bad[0] |= 0x80
				}
				p.Write(bad)
			}()
			for i := range c.count {
				if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			_, _, err := l.Recv(time.Now().Add(limit))
			if !errors.Is(err, transport.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one that says %q", err, c.want)
			}
			if want := map[bool]string{true: self.Public}[c.keyed]; l.Key() != want {
				t.Errorf("the key is %q, want %q", l.Key(), want)
			}
			if got := transport.Origin(l); got != "127.0.0.1" {
				t.Errorf("the origin is %q", got)
			}
			p.ends(limit)
			<-written
		})
	}
}
