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
	a, b, c := ids[0], ids[1], ids[2]
	others := func(id int) []int { return slices.DeleteFunc(slices.Clone(ids), func(i int) bool { return i == id }) }
	expected := map[string][]int{} // message -> who has to receive it, exactly once

	// send orders a message and waits until those whom it is for have it.
	send := func(from int, msg any, to []int, receivers ...int) error {
		do, text := "send", fmt.Sprint(msg)
		if q, ok := msg.(Question); ok {
			do, text = "ask", q.Text
		}
		var want []event
		for _, id := range receivers {
			want = append(want, event{Server: id, What: "received", Text: describe(msg)})
		}
		expected[describe(msg)] = receivers
		if err := f.order(from, do, text, to...); err != nil {
			return err
		}
		_, err := f.await(ctx, patience, want...)
		return errors.Join(err, f.linger(ctx, beat))
	}

	f.step("1. %d servers start, each a process of its own; %s tells each who the others are.", len(ids), filepath.Base(f.config))
	var up []event
	for _, id := range slices.Backward(ids) {
		if err := f.start(id); err != nil {
			return err
		}
		up = append(up, event{Server: id, What: "up"})
	}
	if _, err := f.await(ctx, patience, up...); err != nil {
		return err
	}

	f.step("2. Unicast: an envelope with Pid %d goes to server %d.", b, b)
	if err := send(a, "good morning", []int{b}, b); err != nil {
		return err
	}

	f.step("3. Multicast: Group(%d, %d) gives an address for just these two.", a, b)
	if err := send(a, "for the two of us", []int{a, b}, a, b); err != nil {
		return err
	}

	f.step("4. A reply: what arrives says whom it is from. These two messages are Go structs.")
	question := Question{"are you well?"}
	answer := Answer{"yes, to: " + question.Text}
	expected[describe(answer)] = []int{a}
	if err := send(a, question, []int{c}, c); err != nil {
		return err
	}
	if len(f.got[describe(answer)]) == 0 {
		if _, err := f.await(ctx, patience, event{Server: a, What: "received", Text: describe(answer)}); err != nil {
			return err
		}
	}

	f.step("5. Broadcast: everybody but the sender gets it.")
	if err := send(c, "hello there", []int{cluster.BROADCAST}, others(c)...); err != nil {
		return err
	}

	f.step("6. Server %d is killed. What it does not take for SendTimeout is dropped, from then on at once; nobody else waits.", c)
	if err := f.kill(ctx, c); err != nil {
		return err
	}
	if err := f.linger(ctx, beat); err != nil {
		return err
	}
	const lost = 5
	for i := range lost {
		if err := f.order(a, "send", fmt.Sprintf("is anybody there? (%d)", i+1), c); err != nil {
			return err
		}
	}
	if err := send(a, "and you?", []int{b}, b); err != nil {
		return err
	}
	for {
		if err := f.order(a, "stats", ""); err != nil {
			return err
		}
		stats, err := f.await(ctx, patience, event{Server: a, What: "stats"})
		if err != nil {
			return err
		}
		if n := stats.Books.Dropped; n >= lost {
			f.show(a, "dropped %d messages: nobody took them", n)
			break
		}
		if err := f.linger(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}

	if err := f.order(a, "try", "who does not use Outbox, but Send, is told", c); err != nil {
		return err
	}
	outcome := event{Server: a, What: "outcome", Text: fmt.Sprintf("peer %d: %v", c, cluster.ErrUnreachable)}
	if _, err := f.await(ctx, patience, outcome); err != nil {
		return err
	}

	f.step("7. It comes back, as a new process. It gets what is sent from now on, and nothing stale.")
	if err := f.start(c); err != nil {
		return err
	}
	if _, err := f.await(ctx, patience, event{Server: c, What: "up"}); err != nil {
		return err
	}
	for try := 1; ; try++ {
		text := fmt.Sprintf("welcome back, try %d", try)
		if err := f.order(a, "send", text, c); err != nil {
			return err
		}
		_, err := f.await(ctx, 250*time.Millisecond, event{Server: c, What: "received", Text: describe(text)})
		if err == nil {
			break
		}
		if !errors.Is(err, errMissing) || try == 20 {
			return err
		}
	}
	if err := send(c, "thank you all", []int{cluster.BROADCAST}, others(c)...); err != nil {
		return err
	}

	if intruder.dir != "" {
		f.step("And a stranger, who has a key of its own and says that it is server %d: it is not let in.", c)
		if err := intruder.intrude(ctx, f, c, a); err != nil {
			return err
		}
	}

	f.step("8. What server %d can tell about all this: its Stats.", a)
	if err := f.order(a, "stats", ""); err != nil {
		return err
	}
	stats, err := f.await(ctx, patience, event{Server: a, What: "stats"})
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

	f.step("9. Shutting down: each server delivers what it has accepted, closes, and ends.")
	if err := f.shutdown(ctx); err != nil {
		return err
	}
	if err := compare(f.got, expected, c); err != nil {
		return err
	}
	f.step("All as expected: %d messages received, each once and only by those it was for; %d that a dead server could not take dropped and counted.",
		len(expected), books.Dropped)
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
