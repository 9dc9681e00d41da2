package dns_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Codes of answers, and types of records: RFC 1035, section 4.1.1 and 3.2.2, and RFC 2782.
const (
	noError, serverFailure, nameError = 0, 2, 3

	typeA, typeSRV = 1, 33
)

// A nameServer is one on a port of 127.0.0.1, which answers what a test wants.
type nameServer struct {
	conn net.PacketConn

	mu     sync.Mutex // guards what follows
	silent bool       // it does not answer
	failed bool       // it answers that it cannot
	srv    map[string][]net.SRV
	hosts  map[string]netip.Addr
}

func newNameServer(t testing.TB) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, srv: make(map[string][]net.SRV), hosts: make(map[string]netip.Addr)}
	done := make(chan struct{})
	go func() { // It ends when the connection is closed.
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

// resolver asks this server.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) }}
}

func (s *nameServer) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
}

// change changes what it answers.
func (s *nameServer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *nameServer) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := s.reply(buf[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from) // who asks asks again
		}
	}
}

// reply is the answer to a query with one question.
func (s *nameServer) reply(query []byte) []byte {
	const header = 12
	end := slices.Index(query[header:], 0) + header + 1 // of the name
	if len(query) < end+4 {
		return nil
	}
	name, kind := readName(query[header:end]), binary.BigEndian.Uint16(query[end:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return nil
	}
	records, host := s.srv[name], s.hosts[name]
	var answers [][]byte
	code := byte(noError)
	switch {
	case s.failed:
		code = serverFailure
	case kind == typeSRV && records != nil:
		for _, r := range records {
			data := binary.BigEndian.AppendUint16(nil, r.Priority)
			data = binary.BigEndian.AppendUint16(data, r.Weight)
			data = binary.BigEndian.AppendUint16(data, r.Port)
			answers = append(answers, append(data, writeName(r.Target)...))
		}
	case host.IsValid():
		if kind == typeA {
			answers = append(answers, host.AsSlice())
		}
	default:
		code = nameError
	}
	reply := slices.Clone(query[:end+4])
	reply[2], reply[3] = 0x84, 0x80|code // a response, authoritative, with recursion
	binary.BigEndian.PutUint16(reply[6:], uint16(len(answers)))
	binary.BigEndian.PutUint32(reply[8:], 0)
	for _, data := range answers {
		reply = append(reply, 0xc0, header) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = binary.BigEndian.AppendUint16(reply, 1)  // the Internet
		reply = binary.BigEndian.AppendUint32(reply, 30) // seconds to keep it
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(data)))
		reply = append(reply, data...)
	}
	return reply
}

func readName(b []byte) string {
	var name strings.Builder
	for len(b) > 0 && b[0] > 0 && int(b[0]) < len(b) {
		name.Write(b[1 : 1+b[0]])
		name.WriteByte('.')
		b = b[1+b[0]:]
	}
	return strings.ToLower(name.String())
}

func writeName(name string) (b []byte) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}
