// Demo shows what the library does, with real servers in processes of their own, and checks each thing it shows:
//
//	make demo
//	make demo-secure
//
// main.go is the story, server.go what one server does, fleet.go how the story commands the servers and listens to
// them, config.go where they find each other, and stranger.go who wants to be one of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	patience = 5 * time.Second        // for one thing to happen
	beat     = 500 * time.Millisecond // between two steps, for who reads along
)

func main() {
	config := flag.String("config", findConfig(), "the configuration `file`")
	intruder := flag.String("stranger", "", "where the servers have keys: the `directory` of a stranger with keys of its own")
	id := flag.Int("serve", -1, "be the server with this `id`: how the demo starts its servers")
	as := flag.Int("as", 0, "with -serve: the `number` to report as")
	flag.Parse()
	if *id >= 0 {
		if serve(*id, *as, *config) != nil {
			os.Exit(1) // the story has been told why
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, 28*time.Second, errors.New("the demo took longer than 28 s"))
	defer cancel()
	if err := demo(ctx, *config, *intruder); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo FAILED:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, path, intruder string) error {
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		return err
	}
	if err := usable(cfg); err != nil {
		if intruder != "" {
			return fmt.Errorf("%s: %w", path, err) // the keys are for that one
		}
		fmt.Printf("%s cannot be used just now: %v.\n", path, err)
		if path, err = temporaryConfig(); err != nil {
			return err
		}
		defer os.Remove(path)
		if cfg, err = cluster.LoadConfig(path); err != nil {
			return err
		}
		fmt.Println("A temporary one with free ports serves instead.")
	}
	f, err := newFleet(path)
	if err != nil {
		return err
	}
	defer f.close()
	var ids []int
	for _, p := range cfg.Peers {
		ids = append(ids, p.ID)
	}
	return tell(ctx, f, ids, stranger{intruder})
}

// tell is the story. The servers do what it orders; it waits for them to report that, and fails if they do not.
func tell(ctx context.Context, f *fleet, ids []int, intruder stranger) error {
	s := &story{ctx: ctx, fleet: f, ids: ids, expected: map[string][]int{}}
	for _, act := range []func() error{s.start, s.talk, s.lose, s.recover} {
		if err := act(); err != nil {
			return err
		}
	}
	if intruder.dir != "" {
		f.step("And a stranger, who has a key of its own and says that it is server %d: it is not let in.", ids[2])
		if err := intruder.intrude(ctx, f, ids[2], ids[0]); err != nil {
			return err
		}
	}
	return s.end()
}

// A story is a fleet that does what is told.
type story struct {
	*fleet
	ctx      context.Context
	ids      []int            // of the servers: the first three have a part each
	expected map[string][]int // message -> who has to receive it, exactly once
}

func (s *story) others(id int) []int {
	return slices.DeleteFunc(slices.Clone(s.ids), func(i int) bool { return i == id })
}

// send orders a message and waits until those whom it is for have it.
func (s *story) send(from int, msg any, to []int, receivers ...int) error {
	do, text := "send", fmt.Sprint(msg)
	if q, ok := msg.(Question); ok {
		do, text = "ask", q.Text
	}
	var want []event
	for _, id := range receivers {
		want = append(want, event{Server: id, What: "received", Text: describe(msg)})
	}
	s.expected[describe(msg)] = receivers
	if err := s.order(from, do, text, to...); err != nil {
		return err
	}
	_, err := s.await(s.ctx, patience, want...)
	return errors.Join(err, s.linger(s.ctx, beat))
}

// books asks a server for what its Stats tell.
func (s *story) books(id int) (event, error) {
	if err := s.order(id, "stats", ""); err != nil {
		return event{}, err
	}
	return s.await(s.ctx, patience, event{Server: id, What: "stats"})
}

func (s *story) start() error {
	s.step("1. %d servers start, each a process of its own; %s tells each who the others are.", len(s.ids), filepath.Base(s.config))
	var up []event
	for _, id := range slices.Backward(s.ids) {
		if err := s.fleet.start(id); err != nil {
			return err
		}
		up = append(up, event{Server: id, What: "up"})
	}
	_, err := s.await(s.ctx, patience, up...)
	return err
}

func (s *story) talk() error {
	a, b, c := s.ids[0], s.ids[1], s.ids[2]
	s.step("2. Unicast: an envelope with Pid %d goes to server %d.", b, b)
	if err := s.send(a, "good morning", []int{b}, b); err != nil {
		return err
	}

	s.step("3. Multicast: Group(%d, %d) gives an address for just these two.", a, b)
	if err := s.send(a, "for the two of us", []int{a, b}, a, b); err != nil {
		return err
	}

	s.step("4. A reply: what arrives says whom it is from. These two messages are Go structs.")
	question := Question{"are you well?"}
	answer := Answer{"yes, to: " + question.Text}
	s.expected[describe(answer)] = []int{a}
	if err := s.send(a, question, []int{c}, c); err != nil {
		return err
	}
	if len(s.got[describe(answer)]) == 0 {
		if _, err := s.await(s.ctx, patience, event{Server: a, What: "received", Text: describe(answer)}); err != nil {
			return err
		}
	}

	s.step("5. Broadcast: everybody but the sender gets it.")
	return s.send(c, "hello there", []int{cluster.BROADCAST}, s.others(c)...)
}

func (s *story) lose() error {
	a, b, c := s.ids[0], s.ids[1], s.ids[2]
	s.step("6. Server %d is killed. What it does not take for SendTimeout is dropped, from then on at once; nobody else waits.", c)
	if err := s.kill(s.ctx, c); err != nil {
		return err
	}
	if err := s.linger(s.ctx, beat); err != nil {
		return err
	}
	const lost = 5
	for i := range lost {
		if err := s.order(a, "send", fmt.Sprintf("is anybody there? (%d)", i+1), c); err != nil {
			return err
		}
	}
	if err := s.send(a, "and you?", []int{b}, b); err != nil {
		return err
	}
	for {
		stats, err := s.books(a)
		if err != nil {
			return err
		}
		if n := stats.Books.Dropped; n >= lost {
			s.show(a, "dropped %d messages: nobody took them", n)
			break
		}
		if err := s.linger(s.ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := s.order(a, "try", "who does not use Outbox, but Send, is told", c); err != nil {
		return err
	}
	outcome := event{Server: a, What: "outcome", Text: fmt.Sprintf("peer %d: %v", c, cluster.ErrUnreachable)}
	_, err := s.await(s.ctx, patience, outcome)
	return err
}

func (s *story) recover() error {
	a, c := s.ids[0], s.ids[2]
	s.step("7. It comes back, as a new process. It gets what is sent from now on, and nothing stale.")
	if err := s.fleet.start(c); err != nil {
		return err
	}
	if _, err := s.await(s.ctx, patience, event{Server: c, What: "up"}); err != nil {
		return err
	}
	for try := 1; ; try++ {
		text := fmt.Sprintf("welcome back, try %d", try)
		if err := s.order(a, "send", text, c); err != nil {
			return err
		}
		_, err := s.await(s.ctx, 250*time.Millisecond, event{Server: c, What: "received", Text: describe(text)})
		if err == nil {
			break
		}
		if !errors.Is(err, errMissing) || try == 20 {
			return err
		}
	}
	return s.send(c, "thank you all", []int{cluster.BROADCAST}, s.others(c)...)
}

func (s *story) end() error {
	a, c := s.ids[0], s.ids[2]
	s.step("8. What server %d can tell about all this: its Stats.", a)
	stats, err := s.books(a)
	if err != nil {
		return err
	}
	fmt.Print(stats.Text)
	books := stats.Books
	if books.Accepted != books.Sent+books.Queued+books.Dropped {
		return fmt.Errorf("the books of server %d do not close: %+v", a, books)
	}
	fmt.Printf("The books close: %d accepted = %d sent + %d queued + %d dropped.\n",
		books.Accepted, books.Sent, books.Queued, books.Dropped)

	s.step("9. Shutting down: each server delivers what it has accepted, closes, and ends.")
	if err := s.shutdown(s.ctx); err != nil {
		return err
	}
	if err := compare(s.got, s.expected, c); err != nil {
		return err
	}
	s.step("All as expected: %d messages received, each once and only by those it was for; %d that a dead server could not take dropped and counted.",
		len(s.expected), books.Dropped)
	return nil
}

// compare finds what was received too often, too seldom or by the wrong server. Of the welcomes, any may have come.
func compare(got, expected map[string][]int, welcomed int) error {
	var faults []error
	for text, who := range got {
		slices.Sort(who)
		want := slices.Sorted(slices.Values(expected[text]))
		if strings.HasPrefix(text, `"welcome back`) {
			want = []int{welcomed}
		}
		if !slices.Equal(who, want) {
			faults = append(faults, fmt.Errorf("%s was received by servers %v, expected %v", text, who, want))
		}
	}
	for text, who := range expected {
		if got[text] == nil {
			faults = append(faults, fmt.Errorf("%s was received by nobody, expected %v", text, who))
		}
	}
	return errors.Join(faults...)
}
