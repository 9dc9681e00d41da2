package curve

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

var (
	push = []byte("\x0bSocket-Type\x00\x00\x00\x04PUSH")
	pull = []byte("\x0bSocket-Type\x00\x00\x00\x04PULL")
)

func newKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := NewKeys([32]byte(randomOf(t, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func randomOf(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// ends are a client and a server that fit each other.
type ends struct {
	c      ClientOptions
	s      ServerOptions
	client *Client
	server *Server
}

func newEnds(t testing.TB) *ends {
	t.Helper()
	e := &ends{}
	e.s = ServerOptions{Keys: newKeys(t), Metadata: pull, Admit: func([32]byte) bool { return true }}
	e.c = ClientOptions{Keys: newKeys(t), Metadata: push, Server: e.s.Keys.Public()}
	return e
}

// begin starts a handshake anew.
func (e *ends) begin() { e.client, e.server = NewClient(e.c), NewServer(&e.s) }

// commands are those of a whole handshake, each as sent.
type commands [4][]byte // HELLO, WELCOME, INITIATE, READY

// run makes the handshake, with change in the place of the network. It returns the error of
// the end that failed.
func (e *ends) run(t testing.TB, change func(i int, command []byte) []byte) (sent commands, err error) {
	t.Helper()
	e.begin()
	next, err := e.client.Start()
	if err != nil {
		return sent, err
	}
	for i := range sent {
		sent[i] = bytes.Clone(next)
		next = change(i, next)
		var done bool
		if i%2 == 0 {
			next, done, err = e.server.Next(next)
		} else {
			next, done, err = e.client.Next(next)
		}
		if err != nil {
			e.checkFailed(t, err)
			return sent, err
		}
		if want := i >= 2; done != want {
			t.Fatalf("after command %d: done is %t", i, done)
		}
	}
	if next != nil {
		t.Fatalf("the client answers READY with %x", next)
	}
	return sent, nil
}

// checkFailed checks that the end that failed has no session, and stays so.
func (e *ends) checkFailed(t testing.TB, err error) {
	t.Helper()
	_, done, c := e.client.Next(nil)
	if done || c == nil {
		t.Error("the client goes on with an empty command")
	}
	reply, done, s := e.server.Next(nil)
	if done || s == nil || reply != nil {
		t.Error("the server goes on with an empty command")
	}
	if c != err && s != err {
		t.Errorf("the ends fail with %v and %v, first it was %v", c, s, err)
	}
	if e.client.Session() != nil {
		t.Error("the client has a session")
	}
}

func unchanged(_ int, command []byte) []byte { return command }

// connect makes a handshake that succeeds.
func (e *ends) connect(t testing.TB) commands {
	t.Helper()
	sent, err := e.run(t, unchanged)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestBothEndsLearnKeyAndMetadataOfTheOther(t *testing.T) {
	e := newEnds(t)
	var fromClient, fromServer []byte
	var admitted [][32]byte
	e.s.Admit = func(key [32]byte) bool { admitted = append(admitted, key); return true }
	e.s.Check = func(m []byte) error { fromClient = bytes.Clone(m); return nil }
	e.c.Check = func(m []byte) error { fromServer = bytes.Clone(m); return nil }
	e.connect(t)
	if diff := cmp.Diff([][]byte{push, pull}, [][]byte{fromClient, fromServer}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][32]byte{e.c.Keys.Public()}, admitted); diff != "" {
		t.Error(diff)
	}
	if e.server.Client() != e.c.Keys.Public() {
		t.Errorf("the client's key is %x", e.server.Client())
	}
	exchange(t, e.client.Session(), e.server.Session())
	exchange(t, e.server.Session(), e.client.Session())
}

// exchange sends messages from one session to another.
func exchange(t testing.TB, from, to *Session) {
	t.Helper()
	for _, want := range []string{"", "x", strings.Repeat("message ", 1000)} {
		m := from.Seal(nil, FlagMore, []byte(want))
		flags, err := to.Open(m[:HeadSize], m[HeadSize:])
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m[HeadSize:]); got != want || flags != FlagMore {
			t.Errorf("got %q and flags %d, want %q and %d", got, flags, want, FlagMore)
		}
	}
}

func TestCommandsHaveTheLengthsOfTheRFC(t *testing.T) {
	e := newEnds(t)
	sent := e.connect(t)
	want := []int{200, 168, 257 + len(push), 30 + len(pull)}
	var got []int
	for _, command := range sent {
		got = append(got, len(command))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if MaxCommand != 257+MaxMetadata {
		t.Errorf("MaxCommand is %d", MaxCommand)
	}
}

// Whoever says to come from elsewhere cannot have the answer sent there to its own advantage.
func TestNothingAnsweredIsLongerThanWhatWasSent(t *testing.T) {
	e := newEnds(t)
	sent := e.connect(t)
	if len(sent[1]) >= len(sent[0]) || len(sent[3]) >= len(sent[2]) {
		t.Errorf("answers of %d and %d bytes to %d and %d", len(sent[1]), len(sent[3]), len(sent[0]), len(sent[2]))
	}
}

func TestNoTwoHandshakesShareAnythingSecret(t *testing.T) {
	e := newEnds(t)
	one, two := e.connect(t), e.connect(t)
	client := func(c commands) string { return string(c[0][80:112]) }
	if client(one) == client(two) {
		t.Error("two connections of a client have the same transient key")
	}
	cookie := func(c commands) string { return string(c[2][9:105]) }
	if cookie(one) == cookie(two) {
		t.Error("two connections have the same cookie")
	}
	for _, c := range []commands{one, two} {
		key := e.c.Keys.Public()
		for i, command := range c {
			if bytes.Contains(command, key[:]) || bytes.Contains(command, push) || bytes.Contains(command, pull) {
				t.Errorf("command %d tells who the client is, or its metadata", i)
			}
		}
	}
}

// Every byte of the handshake counts.
func TestAnyChangedByteIsRefused(t *testing.T) {
	e := newEnds(t)
	template := e.connect(t)
	cause := [4]error{ErrBox, ErrBox, ErrBox, ErrBox}
	for i, command := range template {
		name := string(command[1 : 1+command[0]])
		t.Run(name, func(t *testing.T) {
			for at := range command {
				_, err := e.run(t, func(j int, c []byte) []byte {
					if j == i {
						c[at] ^= 1 << (at % 8)
					}
					return c
				})
				want := cause[i]
				switch {
				case at <= int(command[0]):
					want = ErrUnexpected
				case name == "HELLO" && at < 8:
					want = ErrVersion
				case name == "HELLO" && at < 80:
					want = ErrMalformed
				case name == "HELLO" && at == 111:
					want = ErrVouch // of a public key the highest bit does not count, but the client vouches for all
				case name == "INITIATE" && at < 105:
					want = ErrCookie
				case name == "INITIATE" && at < 112 && errors.Is(err, ErrNonce):
					want = ErrNonce
				}
				if !errors.Is(err, want) {
					t.Errorf("byte %d: got %v, want %v", at, err, want)
				}
			}
		})
	}
}

func TestCommandsOfAnotherLengthAreRefused(t *testing.T) {
	e := newEnds(t)
	template := e.connect(t)
	for i, command := range template {
		for n := range len(command) {
			_, err := e.run(t, func(j int, c []byte) []byte {
				if j == i {
					return c[:n]
				}
				return c
			})
			if !errors.Is(err, ErrUnexpected) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrBox) {
				t.Errorf("command %d cut to %d bytes: %v", i, n, err)
			}
		}
		for _, more := range []int{1, 100, MaxMetadata, 1 << 20} {
			_, err := e.run(t, func(j int, c []byte) []byte {
				if j == i {
					return append(c, make([]byte, more)...)
				}
				return c
			})
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrBox) {
				t.Errorf("command %d with %d bytes more: %v", i, more, err)
			}
		}
	}
}

func TestCommandsOutOfPlaceAreRefused(t *testing.T) {
	e := newEnds(t)
	other := e.connect(t)
	m := e.client.Session().Seal(nil, 0, []byte("x"))
	candidates := append(other[:], m, []byte("\x04PING\x00\x00"), []byte("\x05ERROR\x03400"), nil, []byte{0}, []byte{255})
	for i := range other {
		for _, candidate := range candidates {
			if len(candidate) > 0 && candidate[0] == other[i][0] && is(candidate, string(other[i][:1+other[i][0]])) {
				continue
			}
			_, err := e.run(t, func(j int, c []byte) []byte {
				if j == i {
					return bytes.Clone(candidate)
				}
				return c
			})
			want := ErrUnexpected
			if i%2 == 1 && is(candidate, refusal) {
				want = ErrRefused
			}
			if !errors.Is(err, want) {
				t.Errorf("%.8q in the place of command %d: got %v, want %v", candidate, i, err, want)
			}
		}
	}
	e.connect(t)
	for _, candidate := range candidates {
		_, done, err := e.client.Next(candidate)
		_, doneToo, errToo := e.server.Next(candidate)
		if done || doneToo || !errors.Is(err, ErrUnexpected) || !errors.Is(errToo, ErrUnexpected) {
			t.Errorf("%.8q after the handshake: %v, %v", candidate, err, errToo)
		}
	}
	fresh := NewClient(e.c)
	if _, done, err := fresh.Next(other[1]); done || !errors.Is(err, ErrUnexpected) {
		t.Errorf("WELCOME before Start: %t, %v", done, err)
	}
}

// Whoever records a handshake can make nothing of it on another connection.
func TestCommandsOfAnotherConnectionAreRefused(t *testing.T) {
	e := newEnds(t)
	old := e.connect(t)
	for i, want := range []error{nil, ErrBox, ErrCookie, ErrBox} {
		if want == nil {
			continue // anybody can send a HELLO
		}
		if _, err := e.run(t, func(j int, c []byte) []byte {
			if j == i {
				return old[i]
			}
			return c
		}); !errors.Is(err, want) {
			t.Errorf("command %d of another connection: got %v, want %v", i, err, want)
		}
	}
	e.begin()
	if _, _, err := e.server.Next(old[0]); err != nil {
		t.Fatal(err)
	}
	if _, done, err := e.server.Next(old[2]); done || !errors.Is(err, ErrCookie) {
		t.Errorf("HELLO and INITIATE of another connection: %v", err)
	}
}

func TestWrongKeysAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(e *ends)
		want   error
	}{
		"the client expects another server": {func(e *ends) { e.c.Server = newKeys(t).Public() }, ErrBox},
		"the client claims another's key": {func(e *ends) {
			e.c.Keys = &Keys{public: newKeys(t).Public(), secret: e.c.Keys.secret}
		}, ErrVouch},
		"the client is not admitted":           {func(e *ends) { e.s.Admit = func([32]byte) bool { return false } }, ErrNotAdmitted},
		"nobody is to be admitted":             {func(e *ends) { e.s.Admit = nil }, ErrNotAdmitted},
		"the client claims a key of low order": {func(e *ends) { e.c.Keys = &Keys{secret: e.c.Keys.secret} }, ErrKey},
		"the server has a key of low order":    {func(e *ends) { e.c.Server = [32]byte{1} }, ErrKey},
		"the server does not like the client's metadata": {func(e *ends) {
			e.s.Check = func([]byte) error { return io.ErrNoProgress }
		}, ErrMetadata},
		"the client does not like the server's metadata": {func(e *ends) {
			e.c.Check = func([]byte) error { return io.ErrNoProgress }
		}, ErrMetadata},
		"the client has too much metadata": {func(e *ends) { e.c.Metadata = make([]byte, MaxMetadata+1) }, ErrMetadata},
		"the server has too much metadata": {func(e *ends) { e.s.Metadata = make([]byte, MaxMetadata+1) }, ErrMetadata},
		"the client has no random bytes":   {func(e *ends) { e.c.Random = iotest.ErrReader(io.ErrNoProgress) }, io.ErrNoProgress},
		"the server has no random bytes":   {func(e *ends) { e.s.Random = iotest.ErrReader(io.ErrNoProgress) }, io.ErrNoProgress},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t)
			e.s.Check = func([]byte) error { return nil }
			test.change(e)
			if _, err := e.run(t, unchanged); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if e.server.Session() != nil && !strings.HasPrefix(name, "the client does not like") {
				t.Error("the server has a session")
			}
		})
	}
}

func TestMetadataIsLookedAtOnlyOfWhoIsAdmitted(t *testing.T) {
	e := newEnds(t)
	e.s.Admit = func([32]byte) bool { return false }
	e.s.Check = func([]byte) error { t.Error("it was looked at"); return nil }
	if _, err := e.run(t, unchanged); !errors.Is(err, ErrNotAdmitted) {
		t.Error(err)
	}
}

func TestMetadataOfTheGreatestLengthIsTaken(t *testing.T) {
	e := newEnds(t)
	e.c.Metadata, e.s.Metadata = make([]byte, MaxMetadata), make([]byte, MaxMetadata)
	sent := e.connect(t)
	if len(sent[2]) != MaxCommand {
		t.Errorf("INITIATE has %d bytes, want %d", len(sent[2]), MaxCommand)
	}
}

func TestARefusalIsToldOnlyWhenAsked(t *testing.T) {
	for reason, want := range map[string]string{
		"":                       "",
		"400":                    "\x05ERROR\x03400",
		strings.Repeat("x", 300): "\x05ERROR\xff" + strings.Repeat("x", 255),
	} {
		e := newEnds(t)
		e.s.Admit, e.s.Refusal = nil, reason
		sent := e.initiated(t)
		reply, done, err := e.server.Next(sent)
		if done || !errors.Is(err, ErrNotAdmitted) {
			t.Errorf("got %t, %v", done, err)
		}
		if string(reply) != want {
			t.Errorf("reason %.4q: got %q, want %q", reason, reply, want)
		}
		if want == "" {
			continue
		}
		told := reason[:min(len(reason), 255)]
		if _, _, err := e.client.Next(reply); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), told) {
			t.Errorf("the client says %v, want %v with %q", err, ErrRefused, told)
		}
	}
}

// initiated makes the first half of a handshake, and returns INITIATE.
func (e *ends) initiated(t testing.TB) []byte {
	t.Helper()
	e.begin()
	command, err := e.client.Start()
	for _, next := range []func([]byte) ([]byte, bool, error){e.server.Next, e.client.Next} {
		if err == nil {
			command, _, err = next(command)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func TestErrorsOfTheServerAreReadWhole(t *testing.T) {
	for command, want := range map[string]error{
		"\x05ERROR":               ErrMalformed,
		"\x05ERROR\x00":           ErrRefused,
		"\x05ERROR\x03300":        ErrRefused,
		"\x05ERROR\x03400more":    ErrMalformed,
		"\x05ERROR\xff400":        ErrMalformed,
		"\x05ERROR\x04\n\x00\xff": ErrMalformed,
		"\x05ERROR\x03\n\x00\xff": ErrRefused,
	} {
		e := newEnds(t)
		e.initiated(t)
		_, done, err := e.client.Next([]byte(command))
		if done || !errors.Is(err, want) {
			t.Errorf("%q: got %t, %v, want %v", command, done, err, want)
		}
		if strings.ContainsAny(err.Error(), "\n\x00") || !utf8.ValidString(err.Error()) {
			t.Errorf("%q: control characters in %q", command, err)
		}
	}
}

// forge makes the commands of a client that has the right keys and breaks other rules.
type forge struct {
	e         *ends
	transient *Keys
	shared    [32]byte
}

func newForge(t testing.TB, e *ends) *forge {
	t.Helper()
	e.begin()
	f := &forge{e: e, transient: newKeys(t)}
	f.share(t, &f.shared, f.transient, e.c.Server[:])
	return f
}

func (f *forge) share(t testing.TB, key *[32]byte, own *Keys, public []byte) {
	t.Helper()
	if err := own.shared(key, public); err != nil {
		t.Fatal(err)
	}
}

func (f *forge) hello(number uint64, plain []byte) []byte {
	c := slices.Concat([]byte("\x05HELLO\x01\x00"), make([]byte, 72), f.transient.public[:])
	c = binary.BigEndian.AppendUint64(c, number)
	n := nonce("CurveZMQHELLO---", c[112:])
	return secretbox.Seal(c, plain, &n, &f.shared)
}

// initiate answers a WELCOME; vouched is what the vouch tells.
func (f *forge) initiate(t testing.TB, welcome []byte, number uint64, vouched []byte) []byte {
	t.Helper()
	n := nonce("WELCOME-", welcome[8:24])
	plain, ok := secretbox.Open(nil, welcome[24:], &n, &f.shared)
	if !ok {
		t.Fatal("the WELCOME does not open")
	}
	server, cookie := plain[:32], plain[32:]
	var vouching, session [32]byte
	f.share(t, &vouching, f.e.c.Keys, server)
	f.share(t, &session, f.transient, server)
	n = nonce("VOUCH---", make([]byte, 16))
	inner := slices.Concat(f.e.c.Keys.public[:], make([]byte, 16))
	inner = secretbox.Seal(inner, vouched, &n, &vouching)
	c := slices.Concat([]byte("\x08INITIATE"), cookie)
	c = binary.BigEndian.AppendUint64(c, number)
	n = nonce("CurveZMQINITIATE", c[105:])
	return secretbox.Seal(c, inner, &n, &session)
}

func TestAHelloHoldsZeros(t *testing.T) {
	e := newEnds(t)
	f := newForge(t, e)
	if _, _, err := e.server.Next(f.hello(1, make([]byte, 64))); err != nil {
		t.Fatalf("a HELLO of the test's own: %v", err)
	}
	plain := make([]byte, 64)
	plain[63] = 1
	f = newForge(t, e)
	if _, _, err := e.server.Next(f.hello(1, plain)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
}

func TestATransientKeyOfLowOrderIsRefused(t *testing.T) {
	e := newEnds(t)
	f := newForge(t, e)
	f.transient = &Keys{secret: f.transient.secret} // the public key is zero
	f.shared = [32]byte{}
	// What is shared with the zero key is known to everybody.
	box.Precompute(&f.shared, new([32]byte), &[32]byte{1})
	if _, _, err := e.server.Next(f.hello(1, make([]byte, 64))); !errors.Is(err, ErrKey) {
		t.Errorf("got %v, want %v", err, ErrKey)
	}
}

func TestAVouchIsForThisKeyAndThisServer(t *testing.T) {
	e := newEnds(t)
	other := newKeys(t).Public()
	for name, test := range map[string]struct {
		client, server func(f *forge) [32]byte
		want           error
	}{
		"both":           {func(f *forge) [32]byte { return f.transient.public }, func(*forge) [32]byte { return e.c.Server }, nil},
		"another client": {func(*forge) [32]byte { return other }, func(*forge) [32]byte { return e.c.Server }, ErrVouch},
		"another server": {func(f *forge) [32]byte { return f.transient.public }, func(*forge) [32]byte { return other }, ErrVouch},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t, e)
			reply, _, err := e.server.Next(f.hello(1, make([]byte, 64)))
			if err != nil {
				t.Fatal(err)
			}
			client, server := test.client(f), test.server(f)
			_, done, err := e.server.Next(f.initiate(t, reply, 2, slices.Concat(client[:], server[:])))
			if !errors.Is(err, test.want) || done != (test.want == nil) {
				t.Errorf("got %t, %v, want %v", done, err, test.want)
			}
		})
	}
}

func TestNumbersGrowFromHelloOn(t *testing.T) {
	for _, test := range []struct {
		hello, initiate uint64
		want            error
	}{
		{1, 2, nil}, {1, 100, nil}, {0, 1, nil}, {1 << 63, 1<<64 - 1, nil},
		{1, 1, ErrNonce}, {2, 1, ErrNonce}, {1<<64 - 1, 0, ErrNonce}, {1<<64 - 1, 1<<64 - 1, ErrNonce},
	} {
		t.Run(fmt.Sprint(test.hello, " ", test.initiate), func(t *testing.T) {
			e := newEnds(t)
			f := newForge(t, e)
			reply, _, err := e.server.Next(f.hello(test.hello, make([]byte, 64)))
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = e.server.Next(f.initiate(t, reply, test.initiate, slices.Concat(f.transient.public[:], e.c.Server[:])))
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err != nil {
				return
			}
			if got := e.server.Session().open.nonce; got != test.initiate {
				t.Errorf("messages are numbered from above %d, want %d", got, test.initiate)
			}
		})
	}
}

func TestSharedKeysAreThoseOfNaClsBox(t *testing.T) {
	for range 20 {
		publicA, secretA, err := box.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		publicB, secretB, err := box.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var want, got [32]byte
		box.Precompute(&want, publicB, secretA)
		k, err := NewKeys(*secretA)
		if err != nil {
			t.Fatal(err)
		}
		if k.Public() != *publicA {
			t.Fatalf("the public key is %x, want %x", k.Public(), *publicA)
		}
		if err := k.shared(&got, publicB[:]); err != nil || got != want {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
		if k, err = NewKeys(*secretB); err != nil {
			t.Fatal(err)
		}
		if err := k.shared(&got, publicA[:]); err != nil || got != want {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	}
}

func TestCloseLeavesNothingSecret(t *testing.T) {
	e := newEnds(t)
	initiate := e.initiated(t)
	e.client.Close()
	e.server.Close()
	if e.server.cookie != [32]byte{} {
		t.Error("the key of the cookie is left")
	}
	if e.client.shared != [32]byte{} || e.client.transient != nil {
		t.Error("the client keeps secrets of the handshake")
	}
	if _, _, err := e.server.Next(initiate); !errors.Is(err, ErrClosed) {
		t.Errorf("the handshake goes on: %v, want %v", err, ErrClosed)
	}
	e.connect(t)
	e.client.Close()
	e.server.Close()
	for name, s := range map[string]*Session{"client": e.client.Session(), "server": e.server.Session()} {
		if !s.closed || s.seal.key != [32]byte{} || s.open.key != [32]byte{} {
			t.Errorf("the session of the %s keeps its keys", name)
		}
	}
}

// Whoever does not finish a handshake costs a fixed amount, and no secret of the connection stays.
func TestAServerKeepsOnlyTheKeyOfTheCookie(t *testing.T) {
	e := newEnds(t)
	command := e.initiated(t)
	before := *e.server
	if before.cookie == [32]byte{} || before.number != numberHello {
		t.Errorf("the server keeps %x and %d", before.cookie, before.number)
	}
	if _, done, err := e.server.Next(command); !done {
		t.Fatal(err)
	}
	if e.server.cookie != [32]byte{} {
		t.Error("the key of the cookie is left")
	}
	if e.client.shared == [32]byte{} {
		t.Fatal("the client is done before READY")
	}
	e.connect(t)
	if e.client.shared != [32]byte{} || e.client.transient != nil {
		t.Error("the client keeps secrets of the handshake")
	}
}
