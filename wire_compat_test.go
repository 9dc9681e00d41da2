//go:build cgo && !nozmq

package cluster_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wirev1"
	"github.com/abhishekg16/cluster/peercatalog"
)

// These tests hold every later version of the library against version 1 of the wire
// format as it was when its frames were recorded; see testdata/wire-v1/README.md.

var recordWire = flag.String("record-wire", "", "write the frames that the library of today makes to this directory, see testdata/wire-v1/README.md")

const (
	wireName   = "wire-v1" // of the cluster
	wireWriter = 1         // the server whose frames were recorded
	// wireAckMessages are how many messages of wireAckSize bytes were acknowledged: more
	// than the first window has room for.
	wireAckMessages = 24
	wireAckSize     = 60_000
)

// The types of the program that wrote the recorded messages.
type (
	wirePoint struct {
		X, Y int
		Name string
	}
	wireShape struct {
		wirePoint
		Points  []wirePoint           `json:"points"`
		Named   map[string]*wirePoint `json:"named,omitempty"`
		Next    *wireShape
		Raw     []byte
		Fixed   [3]uint16
		Any     any
		Number  float32 `cbor:"7,keyasint"`
		Missing *int    `cbor:",omitempty"`
	}
	wirePair   struct{ A, B uint32 } // it has a format of its own
	wireNumber int
)

func (p wirePair) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, p.A), p.B), nil
}

func (p *wirePair) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return fmt.Errorf("%d bytes", len(b))
	}
	p.A, p.B = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return nil
}

func init() {
	cluster.Register("wire.Point", wirePoint{})
	cluster.Register("wire.Shape", wireShape{})
	cluster.Register("wire.Pair", wirePair{})
	cluster.Register("wire.Number", wireNumber(0))
}

// A wireMessage is one of the scenario that was recorded.
type wireMessage struct {
	to      int // toGroup: servers 2 and 3 by a group
	id      int64
	msg     any
	arrives any // nil: as msg
}

const toGroup = -2

// reaches reports whether the message goes to a server.
func (m wireMessage) reaches(pid int) bool { return m.to == pid || m.to < 0 }

// received is the envelope that the receiver gets.
func (m wireMessage) received() cluster.Envelope {
	msg := m.msg
	if m.arrives != nil {
		msg = m.arrives
	}
	return cluster.Envelope{Pid: wireWriter, MsgId: m.id, Msg: msg}
}

// steps is so many bytes, of which a thousand each are the same.
func steps(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.Repeat(string(rune('A'+i%26)), min(1000, n-b.Len())))
	}
	return b.String()
}

// wireScenario is what server 1 of a cluster of three sends, in this order.
func wireScenario() (all []wireMessage) {
	point := wirePoint{1, -2, "p"}
	shape := wireShape{
		wirePoint: point,
		Points:    []wirePoint{point, {}},
		Named:     map[string]*wirePoint{"one": &point},
		Next:      &wireShape{Raw: []byte{}, Points: []wirePoint{}},
		Raw:       []byte{1, 2, 3},
		Fixed:     [3]uint16{1, 2, 65_535},
		Any:       map[string]any{"a": []any{int64(1), point}},
		Number:    1.5,
	}
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	values := []any{
		nil, false, true,
		int(-2), int8(-3), int16(-300), int32(-70_000), int64(math.MinInt64),
		uint(2), uint8(200), uint16(60_000), uint32(4_000_000_000), uint64(math.MaxUint64),
		float32(0.1), 0.1, math.Inf(-1), math.MaxFloat64,
		"hi", "", "\xff not UTF-8", []byte{0, 1, 255}, []byte{}, []byte(nil),
		point, shape, []wirePoint{point}, []*wirePoint{&point, nil}, map[string]wirePoint{"p": point},
		wireNumber(7), []wireNumber{7, -7}, wirePair{1, 2}, []wirePair{{3, 4}}, map[wireNumber]wirePair{1: {5, 6}},
		[]string{"a", ""}, []string(nil), []int{1, -1}, [3]int16{1, 2, 3}, map[string]int{"a": 1, "b": -1, "c": 1 << 40},
		map[int32][]string{-5: {"x"}}, [][]byte{{1}, nil, {}}, map[string][]*wirePoint{"p": {&point}},
		[]any{nil, true, "text", []byte{1}, int64(5), int(5), uint8(9), uint64(math.MaxUint64), 2.5, float32(2.5), point, wirePair{7, 8},
			[]string{"boxed"}, []any{int64(1)}, map[string]any{"k": nil}, []int(nil), time.Duration(5)},
		time.Unix(1_700_000_000, 123_456_789).UTC(), time.Duration(1500), time.March, time.Friday,
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort("[::1]:80"), netip.MustParsePrefix("10.0.0.0/8"),
	}
	id := int64(1000)
	add := func(to int, msg, arrives any) {
		all = append(all, wireMessage{to, id, msg, arrives})
		id++
	}
	for _, v := range values {
		add(2, v, nil)
	}
	// What a pointer points to arrives.
	add(2, &point, point)
	add(2, &wirePair{9, 10}, wirePair{9, 10})
	add(2, huge, *huge)
	// Ids that are no row, and one after the largest.
	for _, id = range []int64{-1, math.MinInt64, 5, 7, math.MaxInt64} {
		add(2, "id", nil)
	}
	add(2, "the smallest after the largest", nil)
	for range 20 {
		add(cluster.BROADCAST, "to all", nil)
		add(toGroup, point, nil)
		add(2, []string{"to one"}, nil)
	}
	add(cluster.BROADCAST, steps(40_000), nil)
	add(toGroup, []byte(steps(131_073)), nil)
	add(cluster.BROADCAST, steps(300_000), nil)
	add(2, []string{steps(200_000), "in pieces, too"}, nil)
	add(cluster.BROADCAST, "the end", nil)
	return all
}

// wireReceivers are the servers that the scenario is for.
var wireReceivers = []uint16{2, 3}

// scenarioFor is the part of the scenario that reaches a server.
func scenarioFor(pid uint16) (all []wireMessage) {
	for _, m := range wireScenario() {
		if m.reaches(int(pid)) {
			all = append(all, m)
		}
	}
	return all
}

// wireConfig is that of servers 1 to 3.
func wireConfig(t testing.TB) (cfg cluster.Config, addresses map[uint16]string) {
	t.Helper()
	cfg = cluster.Config{Cluster: wireName, SendTimeout: wirev1.Deadline} // what is played here need not keep pace
	addresses = make(map[uint16]string)
	for i, a := range testcluster.LowAddresses(t, 3) {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: i + 1, Address: a})
		addresses[uint16(i+1)] = a
	}
	return cfg, addresses
}

// startNode starts a server of today. It is closed when the test ends.
func startNode(t testing.TB, pid int, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Linger = time.Millisecond // the servers that tests play do not wait for an end
	n, err := cluster.NewFromConfig(pid, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// playScenario lets a server of today send the scenario to two servers of version 1, and
// returns these and what each has read. They listen only when all was sent, so that
// small messages share frames.
func playScenario(t testing.TB) (peers []*wirev1.Peer, streams []*wirev1.Stream) {
	t.Helper()
	cfg, at := wireConfig(t)
	n := startNode(t, wireWriter, cfg)
	group, err := n.Group(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range wireScenario() {
		to := m.to
		if to == toGroup {
			to = group
		}
		testcluster.Put(t, n, &cluster.Envelope{Pid: to, MsgId: m.id, Msg: m.msg})
	}
	for _, pid := range wireReceivers {
		p := wirev1.NewPeer(t, wireName, pid)
		p.Connect(wireWriter, at[wireWriter])
		p.Listen(at[pid])
		s := new(wirev1.Stream)
		p.ReadRecords(wireWriter, s, len(scenarioFor(pid)))
		peers, streams = append(peers, p), append(streams, s)
	}
	return peers, streams
}

// recordedTo is the file of what was sent to a server.
func recordedTo(pid uint16) string {
	return filepath.Join("testdata", "wire-v1", fmt.Sprintf("%d-to-%d.frames", wireWriter, pid))
}

var recordedAcks = filepath.Join("testdata", "wire-v1", "acknowledgments.frames")

// readRecorded reads the recorded frames to a server.
func readRecorded(t testing.TB, pid uint16) (frames [][]byte, s *wirev1.Stream) {
	t.Helper()
	s = new(wirev1.Stream)
	frames = wirev1.ReadFrames(t, recordedTo(pid))
	for i, b := range frames {
		f, err := wirev1.ParseFrame(b)
		if err == nil {
			err = s.Take(f)
		}
		if err != nil {
			t.Fatalf("%s: frame %d: %v", recordedTo(pid), i, err)
		}
	}
	return frames, s
}

func TestRecordedFramesOfVersion1Arrive(t *testing.T) {
	for _, pid := range wireReceivers {
		t.Run(fmt.Sprint("server ", pid), func(t *testing.T) {
			frames, recorded := readRecorded(t, pid)
			// Records for several servers have no short headers, and server 3 gets no others.
			if pid == 2 && recorded.Short == 0 || recorded.Pieces == 0 || recorded.Shared == 0 {
				t.Fatalf("the recording has %d short headers, %d pieces and %d frames of several records, want some of each",
					recorded.Short, recorded.Pieces, recorded.Shared)
			}
			cfg, at := wireConfig(t)
			n := startNode(t, int(pid), cfg)
			p := wirev1.NewPeer(t, wireName, wireWriter)
			p.Listen(at[wireWriter])
			p.Connect(pid, at[pid])
			p.Incarnation = recorded.Incarnation
			for _, f := range frames {
				p.Send(pid, f)
			}
			// The end of the stream has to be acknowledged at once.
			p.Send(pid, p.BareFrame(pid, wirev1.FlagAckNow, recorded.Next, new(wirev1.Stream)))
			for i, m := range scenarioFor(pid) {
				if diff := cmp.Diff(m.received(), *testcluster.Take(t, n), wireComparers...); diff != "" {
					t.Fatalf("message %d (- want, + got):\n%s", i, diff)
				}
			}
			for acked := (wirev1.Position{}); acked != recorded.Next; {
				f := p.Receive(func() string { return fmt.Sprintf("%v is acknowledged, not only %v", recorded.Next, acked) })
				if f.AckedIncarnation == recorded.Incarnation {
					if f.Acked.Before(acked) || recorded.Next.Before(f.Acked) {
						t.Fatalf("%v was acknowledged after %v; the end is %v", f.Acked, acked, recorded.Next)
					}
					acked = f.Acked
				}
			}
			if s := n.Stats().Received; s.Lost+s.Missed != 0 || len(s.Refused) != 0 {
				t.Errorf("lost %d, missed %d, refused %v, want none", s.Lost, s.Missed, s.Refused)
			}
		})
	}
}

// wireComparers compare what has unexported fields.
var wireComparers = []cmp.Option{
	cmp.AllowUnexported(wireShape{}),
	cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// TestVersion1ReadsWhatANodeWrites but for values that have two forms (docs/wire.md, section 10): their kind is one that
// the servers of the recording refuse whole.
func TestVersion1ReadsWhatANodeWrites(t *testing.T) {
	const twoForms, typed2 = "10:wire.Shape", 21
	_, streams := playScenario(t)
	for i, pid := range wireReceivers {
		t.Run(fmt.Sprint("server ", pid), func(t *testing.T) {
			_, recorded := readRecorded(t, pid)
			got := streams[i]
			if len(got.Records) != len(recorded.Records) {
				t.Fatalf("%d records, %d were recorded", len(got.Records), len(recorded.Records))
			}
			for i, want := range recorded.Records {
				if want := legible(t, want); want.Type == twoForms {
					if kind := got.Records[i].Kind; kind != typed2 {
						t.Errorf("record %d, a %s, is of kind %d, want %d", i, twoForms, kind, typed2)
					}
					continue
				}
				if diff := cmp.Diff(legible(t, want), legible(t, got.Records[i]), wireComparers...); diff != "" {
					t.Errorf("record %d (- recorded, + now):\n%.2000s", i, diff)
				}
			}
		})
	}
}

// A legibleRecord is a record whose CBOR was read, in which the order of the entries of
// a map is free.
type legibleRecord struct {
	Kind    byte
	ID      int64
	Type    string
	Value   any
	Payload []byte
}

func legible(t testing.TB, r wirev1.Record) legibleRecord {
	t.Helper()
	const typed, binaryKind = 19, 20
	l := legibleRecord{Kind: r.Kind, ID: r.Id, Payload: r.Payload}
	if r.Kind != typed && r.Kind != binaryKind {
		return l
	}
	length := int(binary.LittleEndian.Uint16(r.Payload))
	l.Type, l.Payload = string(r.Payload[2:2+length]), r.Payload[2+length:]
	if r.Kind == typed {
		if err := cbor.Unmarshal(l.Payload, &l.Value); err != nil {
			t.Fatalf("the CBOR of a %s: %v", l.Type, err)
		}
		l.Payload = nil
	}
	return l
}

func TestRecordedAcknowledgmentsPaceANode(t *testing.T) {
	acks := wirev1.ReadFrames(t, recordedAcks)
	const pid = 2 // a server of today, in the place of the one that was acknowledged
	cfg, at := wireConfig(t)
	p := wirev1.NewPeer(t, wireName, wireWriter)
	p.Listen(at[wireWriter])
	n := startNode(t, pid, cfg)
	go func() { // It ends with its last message, or with the node.
		for range wireAckMessages {
			select {
			case n.Outbox() <- &cluster.Envelope{Pid: wireWriter, Msg: make([]byte, wireAckSize)}:
			case <-n.Done():
				return
			}
		}
	}()
	p.Connect(pid, at[pid])
	var s wirev1.Stream
	read := func() (asked bool) {
		f := p.Receive(func() string { return fmt.Sprintf("%d messages, of which %d came", wireAckMessages, len(s.Records)) })
		if err := s.Take(f); err != nil {
			t.Fatal(err)
		}
		return f.Bare() && f.Flags&wirev1.FlagAckNow != 0
	}
	// Without an acknowledgment the node fills the first window, and asks for one.
	want := wirev1.FirstWindow / wireAckSize
	for !read() || len(s.Records) < want { // it also asks for one when nothing is put into Outbox for a while
	}
	if got := len(s.Records); got != want {
		t.Fatalf("%d messages came without an acknowledgment, want %d", got, want)
	}
	played := 0
	for {
		for ; played < len(acks); played++ {
			f, err := wirev1.ParseFrame(acks[played])
			if err != nil {
				t.Fatalf("%s: frame %d: %v", recordedAcks, played, err)
			}
			if s.Next.Before(f.Acked) {
				break // for what has not come yet
			}
			// They are about the incarnation of another life, and for its server.
			b := slices.Clone(acks[played])
			if f.AckedIncarnation != 0 {
				binary.LittleEndian.PutUint64(b[32:], s.Incarnation)
			}
			p.Send(pid, b)
		}
		if len(s.Records) == wireAckMessages {
			break
		}
		read()
	}
	if played != len(acks) {
		t.Errorf("%d of %d acknowledgments were played", played, len(acks))
	}
	for deadline := time.Now().Add(wirev1.Deadline); ; time.Sleep(2 * time.Millisecond) {
		if s := n.Stats().Sent; s.Sent == wireAckMessages && s.DroppedTotal() == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d messages sent, %d dropped, want %d and none", s.Sent, s.DroppedTotal(), wireAckMessages)
		}
	}
}

// TestRecordWire is no test: it writes the recorded frames anew.
func TestRecordWire(t *testing.T) {
	if *recordWire == "" {
		t.Skip("it is for -record-wire")
	}
	write := func(path, remark string, frames [][]byte) {
		t.Helper()
		file := filepath.Join(*recordWire, filepath.Base(path))
		if err := os.WriteFile(file, []byte(wirev1.FormatFrames(remark, frames)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	peers, _ := playScenario(t)
	for i, pid := range wireReceivers {
		write(recordedTo(pid), fmt.Sprintf("What server %d wrote to server %d.", wireWriter, pid), peers[i].Frames)
	}
	write(recordedAcks, fmt.Sprintf("What server %d wrote to server 2, which sent it %d messages of %d bytes.",
		wireWriter, wireAckMessages, wireAckSize), acknowledgments(t))
}

// acknowledgments are the frames that a node writes to a server of version 1 that sends
// as much as the window allows, and asks for an acknowledgment after each.
func acknowledgments(t testing.TB) [][]byte {
	t.Helper()
	const pid = 2
	cfg, at := wireConfig(t)
	p := wirev1.NewPeer(t, wireName, pid)
	p.Listen(at[pid])
	n := startNode(t, wireWriter, cfg)
	p.Connect(wireWriter, at[wireWriter])
	record := make([]byte, 16+wireAckSize)
	record[0] = 17 // bytes
	binary.LittleEndian.PutUint32(record[4:], wireAckSize)
	var s wirev1.Stream
	for i := range uint64(wireAckMessages) {
		at := wirev1.Position{Number: i + 1, Offset: 0}
		h := wirev1.Header(wireName, pid, wireWriter, p.Incarnation, 0, at)
		binary.LittleEndian.PutUint32(h[56:], 1)
		p.Send(wireWriter, slices.Concat(h, record))
		testcluster.Take(t, n)
		at.Number++
		p.Send(wireWriter, p.BareFrame(wireWriter, wirev1.FlagAckNow, at, &s))
		for acked := false; !acked; {
			f := p.Receive(func() string { return fmt.Sprintf("message %d is acknowledged", i) })
			if err := s.Take(f); err != nil {
				t.Fatal(err)
			}
			acked = f.Acked == at
		}
	}
	return p.Frames
}
