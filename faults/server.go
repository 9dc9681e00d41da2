//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A command is what the driver asks of a server: one line of JSON.
type command struct {
	Do    string        // see server.do
	Load  load          // for "load"
	Pause time.Duration // for "pace": after each message that is taken; for "shift": of the clock
	What  string        // for "hoard": "descriptors", or an address to use the ports up to
	Peer  *peer         // for "peer"
	To    int           // for "slow"
}

type peer struct {
	ID      int
	Address string
}

// An answer is what a server replies: one line of JSON.
type answer struct {
	Error    string    `json:",omitempty"`
	Counters *counters `json:",omitempty"`
	Holdings *holdings `json:",omitempty"`
	Handed   uint64    `json:",omitempty"` // messages of all loads so far
	// Blocked is the longest that handing one over has taken.
	Blocked   time.Duration `json:",omitempty"`
	LogFaults int           `json:",omitempty"` // lines that could not be written to the log
}

// A load is what a server is to send, until it is told otherwise.
type load struct {
	To      []int
	Rate    int  // messages a second to each destination of each stream; 0: as fast as they are taken
	Size    int  // bytes of each
	Streams int  // goroutines that send; 0 means 1
	Count   int  // messages to each destination of each stream; 0: no end
	Deliver bool // by Deliver, one at a time, and not by Outbox
}

// server is the role of a child process: one server of the library, which does what
// the driver says and writes down all that it sends and takes.
type server struct {
	pid     int
	life    uint32
	node    *cluster.Node
	journal *journal

	pause  atomic.Int64 // after each message that is taken
	handed atomic.Uint64
	block  atomic.Int64 // the longest time of put
	log    *logFile
	hoard  hoard
	halt   chan struct{} // closed to end the load
	load   sync.WaitGroup
	others sync.WaitGroup // who takes, and who keeps counters
	ended  chan struct{}  // closed when the node has closed
	// numbers are the last that each stream has used, by destination. A stream's are
	// its own while it runs.
	numbers map[int]map[int]uint64
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	config := flags.String("config", "", "the configuration")
	pid := flags.Int("pid", 0, "which of its servers to be")
	life := flags.Uint("life", 1, "which of the driver's processes this is")
	path := flags.String("journal", "", "the file to write everything down in")
	descriptors := flags.Uint64("descriptors", 0, "how many may be open, if not 0")
	logPath := flags.String("log", "", "the file for the library's log (default: standard error)")
	take := flags.String("hoard", "", "what to take before the node starts; see hoard")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	s := &server{
		pid: *pid, life: uint32(*life), halt: make(chan struct{}), ended: make(chan struct{}),
		numbers: make(map[int]map[int]uint64),
	}
	var err error
	if s.journal, err = createJournal(*path); err != nil {
		return err
	}
	if *descriptors > 0 {
		if err := limitDescriptors(*descriptors); err != nil {
			return err
		}
	}
	cfg, err := cluster.LoadConfig(*config)
	if err != nil {
		return err
	}
	s.log = &logFile{w: os.Stderr}
	if *logPath != "" {
		f, err := os.OpenFile(*logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		s.log.w = f
	}
	cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	if *take != "" {
		if err := s.hoard.fill(*take); err != nil {
			return err
		}
	}
	if s.node, err = cluster.NewFromConfig(*pid, cfg); err != nil {
		return err
	}
	s.others.Go(s.take) // It ends when the node closes Inbox; quit waits.
	s.others.Go(s.keep) // It ends with the node; quit waits.
	return s.obey(os.Stdin, os.Stdout)
}

// obey carries out commands until "quit", or until the driver is gone.
func (s *server) obey(in io.Reader, out io.Writer) error {
	replies := json.NewEncoder(out)
	if err := replies.Encode(answer{}); err != nil { // it is up
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		a, err := s.do(c)
		if err != nil {
			a.Error = err.Error()
		}
		if err := replies.Encode(a); err != nil {
			return err
		}
		if c.Do == "quit" {
			return nil
		}
	}
	return errors.New("the driver is gone")
}

func (s *server) do(c command) (a answer, err error) {
	switch c.Do {
	case "load":
		s.stop()
		s.begin(c.Load)
	case "halt":
		s.stop()
	case "pace":
		s.pause.Store(int64(c.Pause))
	case "peer":
		err = s.node.Catalog().Put(peercatalog.Peer{ID: c.Peer.ID, Address: c.Peer.Address})
	case "shift":
		if shiftClock == nil {
			err = errors.New("this program was built with a clock that cannot be set")
		} else {
			shiftClock(c.Pause)
		}
	case "slow":
		s.putSlow(c.To)
	case "hoard":
		err = s.hoard.fill(c.What)
	case "release":
		s.hoard.empty()
	case "counters":
	case "holdings":
		h := hold()
		a.Holdings = &h
	case "quit":
		err = s.quit()
	default:
		err = fmt.Errorf("unknown command %q", c.Do)
	}
	now := count(s.node.Stats())
	a.Counters, a.Handed, a.Blocked = &now, s.handed.Load(), time.Duration(s.block.Load())
	a.LogFaults = int(s.log.faults.Load())
	return a, err
}

// quit closes the node, whatever load there is, and waits for all that this process
// has started.
func (s *server) quit() error {
	err := s.node.Close()
	close(s.ended)
	s.stop()
	s.others.Wait()
	return errors.Join(err, s.journal.keep(count(s.node.Stats())))
}

// begin makes the streams of a load, each a goroutine, which stop ends and waits for.
func (s *server) begin(l load) {
	s.halt = make(chan struct{})
	for stream := range max(1, l.Streams) {
		if s.numbers[stream] == nil {
			s.numbers[stream] = make(map[int]uint64)
		}
		numbers := s.numbers[stream]
		s.load.Go(func() { s.send(l, uint16(stream), numbers) })
	}
}

func (s *server) stop() {
	select {
	case <-s.halt:
	default:
		close(s.halt)
	}
	s.load.Wait()
}

// tick is how often a stream with a rate sends what is due.
const tick = 5 * time.Millisecond

// send is one stream. If it could not send for a while, what is due since is sent as
// soon as it can, for what is to be kept is the rate.
func (s *server) send(l load, stream uint16, numbers map[int]uint64) {
	began := time.Now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for done := 0; l.Count == 0 || done < l.Count; {
		due := done + 1
		if l.Rate > 0 {
			select {
			case <-ticker.C:
			case <-s.halt:
				return
			}
			due = int(time.Since(began).Seconds() * float64(l.Rate))
		}
		if l.Count > 0 {
			due = min(due, l.Count)
		}
		for ; done < due; done++ {
			select {
			case <-s.halt:
				return
			default:
			}
			for _, to := range l.To {
				numbers[to]++
				m := message{from: s.pid, to: to, life: s.life, stream: stream, number: numbers[to], at: now()}
				if l.Deliver {
					s.deliver(m, l.Size)
				} else if !s.put(m, l.Size, 0) {
					return
				}
			}
		}
	}
}

// slowStream is the stream of messages that are decoded slowly.
const slowStream = 1 << 15

// putSlow sends a message that its receiver takes slowTime to decode.
func (s *server) putSlow(to int) {
	if s.numbers[slowStream] == nil {
		s.numbers[slowStream] = make(map[int]uint64)
	}
	s.numbers[slowStream][to]++
	s.put(message{from: s.pid, to: to, life: s.life, stream: slowStream, number: s.numbers[slowStream][to], at: now()}, 0, slowTime)
}

// put writes a message down and hands it over; it takes its receiver that long to decode. It reports false if the node is closed.
func (s *server) put(m message, size int, takes time.Duration) bool {
	payload, sum := m.encode(size)
	msg := any(payload)
	if takes > 0 {
		msg = slowly{takes, payload}
	}
	r := s.journal.sends(m, len(payload), sum)
	select {
	case s.node.Outbox() <- &cluster.Envelope{Pid: m.to, Msg: msg}:
		s.handed.Add(1)
		for took := since(m.at, now()); ; {
			most := s.block.Load()
			if int64(took) <= most || s.block.CompareAndSwap(most, int64(took)) {
				return true
			}
		}
	case <-s.node.Done():
		r.withdraw()
		return false
	}
}

// deliver is put by Deliver, and writes down what that says.
func (s *server) deliver(m message, size int) {
	payload, sum := m.encode(size)
	r := s.journal.sends(m, len(payload), sum)
	switch err := s.node.Deliver(context.Background(), &cluster.Envelope{Pid: m.to, Msg: payload}); {
	case err == nil:
		r.tell(saidDelivered)
	case errors.Is(err, cluster.ErrUnconfirmed):
		r.tell(saidUnknown)
	default:
		r.tell(saidNot)
	}
	s.handed.Add(1)
}

// take takes everything from Inbox and writes it down.
func (s *server) take() {
	for env := range s.node.Inbox() {
		s.took(env)
		if pause := time.Duration(s.pause.Load()); pause > 0 {
			time.Sleep(pause)
		}
	}
}

func (s *server) took(env *cluster.Envelope) {
	r := record{from: uint16(env.Pid), to: uint16(s.pid), at: now(), msgID: env.MsgId, corrupt: 1}
	payload, ok := env.Msg.([]byte)
	if slow, is := env.Msg.(slowly); is {
		payload, ok = slow.payload, true
	}
	if ok {
		m, sum, err := decode(payload)
		if err == nil && m.from == env.Pid {
			r.corrupt = 0
		}
		// Where the message says it goes is written down, wherever it went.
		r.to, r.life, r.stream, r.number, r.handed = uint16(m.to), m.life, m.stream, m.number, m.at
		r.size, r.sum = uint32(len(payload)), sum
	}
	s.journal.add(received, r)
}

// keepInterval is how far the counters of a server that was killed may be behind.
const keepInterval = 20 * time.Millisecond

// keep writes the counters down now and then.
func (s *server) keep() {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		if err := s.journal.keep(count(s.node.Stats())); err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
		}
		select {
		case <-ticker.C:
		case <-s.ended:
			return
		}
	}
}
