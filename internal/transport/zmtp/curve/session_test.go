package curve

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/crypto/nacl/box"
)

// sessions returns the two ends of a connection that stands.
func sessions(t testing.TB) (client, server *Session) {
	t.Helper()
	e := newEnds(t)
	e.connect(t)
	return e.client.Session(), e.server.Session()
}

// boxed is a MESSAGE of the client, made with NaCl's box alone.
func boxed(number uint64, plain []byte, shared *[32]byte) []byte {
	m := binary.BigEndian.AppendUint64([]byte("\x07MESSAGE"), number)
	n := nonce("CurveZMQMESSAGEC", m[8:])
	return box.SealAfterPrecomputation(m, plain, &n, shared)
}

func TestMessagesAreNaClBoxes(t *testing.T) {
	shared := [32]byte(randomOf(t, 32))
	lengths := []int{1000, 4095, 1 << 16, 1<<20 + 7}
	for n := range 300 {
		lengths = append(lengths, n)
	}
	ours := newSession(&shared, clientNonce, serverNonce, 2, 1)
	other := newSession(&shared, serverNonce, clientNonce, 1, 2)
	for i, length := range lengths {
		body := randomOf(t, length)
		flags := byte(i % 4)
		want := boxed(uint64(i+3), append([]byte{flags}, body...), &shared)
		cut := i % (length + 1)
		got := ours.Seal([]byte("before"), flags, body[:cut], nil, body[cut:])
		if !bytes.Equal(got[6:], want) || string(got[:6]) != "before" {
			t.Fatalf("%d bytes are sealed as\n%.80x, want\n%.80x", length, got[6:], want)
		}
		gotFlags, err := other.Open(want[:HeadSize], want[HeadSize:])
		if err != nil || gotFlags != flags || !bytes.Equal(want[HeadSize:], body) {
			t.Fatalf("%d bytes open with %v, flags %d, want %d", length, err, gotFlags, flags)
		}
	}
}

// The vector that NaCl was published with (tests/box.c, box2.c and secretbox.c): Alice's box for Bob.
// Its nonce and its first byte are in the places of those of a MESSAGE.
func TestBoxesAreThoseOfNaClsTestVector(t *testing.T) {
	const (
		alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
		bob   = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
		both  = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"
		begin = "69696ee955b62b73cd62bda875fc73d6"
		end   = "8219e0036b7a0b37"
		plain = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc" +
			"e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31" +
			"0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde" +
			"048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864" +
			"5e0705"
		sealed = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce" +
			"48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972" +
			"71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae" +
			"90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3" +
			"7973f622a43d14a6599b1f654cb45a74e355a5"
	)
	keys, err := NewKeys([32]byte(unhex(t, alice)))
	if err != nil {
		t.Fatal(err)
	}
	var shared [32]byte
	if err := keys.shared(&shared, unhex(t, bob)); err != nil || hex.EncodeToString(shared[:]) != both {
		t.Fatalf("they share %x, %v, want %s", shared, err, both)
	}
	number := binary.BigEndian.Uint64(unhex(t, end))
	prefix := string(unhex(t, begin))
	s := newSession(&shared, prefix, prefix, number, number-1)
	m := append(make([]byte, 32), unhex(t, plain)...)
	s.seal.encrypt(m)
	if got, want := hex.EncodeToString(m), hex.EncodeToString([]byte("\x07MESSAGE"))+end+sealed; got != want {
		t.Fatalf("got\n%s, want\n%s", got, want)
	}
	first, ok := s.open.decrypt(number, m[:HeadSize], m[HeadSize:])
	if got := hex.EncodeToString([]byte{first}) + hex.EncodeToString(m[HeadSize:]); !ok || got != plain {
		t.Fatalf("got\n%s, %t, want\n%s", got, ok, plain)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnyChangedByteOfAMessageIsRefused(t *testing.T) {
	client, server := sessions(t)
	m := client.Seal(nil, 0, []byte("a message whose body does not fit into the first block of the stream"))
	for at := range m {
		copied := *server
		changed := bytes.Clone(m)
		changed[at] ^= 1 << (at % 8)
		before := bytes.Clone(changed)
		_, err := copied.Open(changed[:HeadSize], changed[HeadSize:])
		want := ErrBox
		switch {
		case at < 8:
			want = ErrUnexpected
		case at < 16 && errors.Is(err, ErrNonce):
			want = ErrNonce
		}
		if !errors.Is(err, want) {
			t.Errorf("byte %d: got %v, want %v", at, err, want)
		}
		if !bytes.Equal(changed, before) {
			t.Errorf("byte %d: it was decrypted all the same", at)
		}
	}
	for n := range m {
		copied := *server
		cut := m[:n:n]
		head := cut[:min(n, HeadSize)]
		if _, err := copied.Open(head, cut[len(head):]); !errors.Is(err, ErrBox) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnexpected) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := server.Open(m[:HeadSize], m[HeadSize:]); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func TestMessagesOpenOnceAndInOrder(t *testing.T) {
	for name, test := range map[string]struct {
		order []int
		want  error
	}{
		"in order":  {[]int{0, 1, 2}, nil},
		"one lost":  {[]int{0, 2}, nil}, // ZMTP runs over streams: that is no loss of the network's
		"twice":     {[]int{0, 0}, ErrNonce},
		"swapped":   {[]int{1, 0}, ErrNonce},
		"older one": {[]int{0, 1, 2, 0}, ErrNonce},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := sessions(t)
			var sealed [3][]byte
			for i := range sealed {
				sealed[i] = client.Seal(nil, 0, fmt.Append(nil, "message ", i))
			}
			var err error
			for _, i := range test.order {
				if err != nil {
					t.Fatal(err)
				}
				m := bytes.Clone(sealed[i])
				_, err = server.Open(m[:HeadSize], m[HeadSize:])
			}
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestASessionThatFailedStaysFailed(t *testing.T) {
	client, server := sessions(t)
	one := client.Seal(nil, 0, []byte("one"))
	two := client.Seal(nil, 0, []byte("two"))
	one[HeadSize]++
	_, first := server.Open(one[:HeadSize], one[HeadSize:])
	_, err := server.Open(two[:HeadSize], two[HeadSize:])
	if !errors.Is(first, ErrBox) || err != first {
		t.Errorf("got %v, then %v", first, err)
	}
	exchange(t, server, client) // the other direction is another thing
}

// What one end sealed does not open as what the other did.
func TestMessagesAreNotReflected(t *testing.T) {
	client, server := sessions(t)
	for _, s := range []*Session{client, server} {
		s.Seal(nil, 0)
		m := s.Seal(nil, 0, []byte("x"))
		if _, err := s.Open(m[:HeadSize], m[HeadSize:]); !errors.Is(err, ErrBox) {
			t.Errorf("got %v, want %v", err, ErrBox)
		}
	}
}

func TestFlagsWithoutAMeaningAreRefused(t *testing.T) {
	shared := [32]byte(randomOf(t, 32))
	for flags := range 256 {
		s := newSession(&shared, serverNonce, clientNonce, 1, 2)
		m := boxed(3, []byte{byte(flags), 'x'}, &shared)
		got, err := s.Open(m[:HeadSize], m[HeadSize:])
		if flags < 4 && (err != nil || int(got) != flags) {
			t.Errorf("flags %#x: got %#x, %v", flags, got, err)
		}
		if flags >= 4 && !errors.Is(err, ErrMalformed) {
			t.Errorf("flags %#x: got %v, want %v", flags, err, ErrMalformed)
		}
	}
}

func TestSealLeavesOutFlagsWithoutAMeaning(t *testing.T) {
	client, server := sessions(t)
	m := client.Seal(nil, 0xfe, []byte("x"))
	if flags, err := server.Open(m[:HeadSize], m[HeadSize:]); err != nil || flags != FlagCommand {
		t.Errorf("got %#x, %v, want %#x", flags, err, FlagCommand)
	}
}

func TestAClosedSessionSendsAndTakesNothing(t *testing.T) {
	client, server := sessions(t)
	m := client.Seal(nil, 0, []byte("x"))
	client.Close()
	server.Close()
	if got := client.Seal([]byte("before"), 0, []byte("secret")); string(got) != "before" {
		t.Errorf("got %q", got)
	}
	if _, err := server.Open(m[:HeadSize], m[HeadSize:]); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	for _, d := range []direction{client.seal, client.open, server.seal, server.open} {
		if d.key != [32]byte{} {
			t.Error("a key is left")
		}
	}
}

func TestMessagesCostNoMemory(t *testing.T) {
	client, server := sessions(t)
	for _, size := range []int{0, 64, 1 << 10, 64 << 10} {
		head, body := randomOf(t, size/2), randomOf(t, size-size/2)
		buf := make([]byte, 0, HeadSize+size)
		if n := testing.AllocsPerRun(100, func() {
			m := client.Seal(buf, 0, head, body)
			if _, err := server.Open(m[:HeadSize], m[HeadSize:]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%d bytes: %v allocations", size, n)
		}
	}
}

func TestSealDoesNotChangeTheBody(t *testing.T) {
	client, _ := sessions(t)
	body := randomOf(t, 1000)
	want := bytes.Clone(body)
	client.Seal(slices.Grow([]byte(nil), 2000), 0, body)
	if !bytes.Equal(body, want) {
		t.Error("it did")
	}
}
