// Demo runs five servers of a cluster, each in a process of its own with its page open on loopback, and prints where
// the pages are. While it runs it kills one server, adds one to the configuration, and starts the killed one again. It
// ends at Ctrl-C, or after two minutes:
//
//	make demo-live
//
// main.go is the story, fleet.go starts and ends the servers, and server.go is what one server does.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	servers = 5 // at first, with the ids from 0 on
	victim  = 3
	added   = servers
)

func main() {
	id := flag.Int("serve", -1, "be the server with this `id`: how the demo starts its servers")
	config := flag.String("config", "", "with -serve: the configuration `file`")
	lasts := flag.Duration("for", 2*time.Minute, "how long it goes on")
	pace := flag.Duration("pace", 15*time.Second, "the time between two things that happen; 0: one happens at each line of standard input")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *id >= 0 {
		err = serve(ctx, *id, *config)
	} else {
		ctx, cancel := context.WithTimeout(ctx, *lasts)
		defer cancel()
		err = tell(ctx, beats(*pace))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// beats is when things happen.
func beats(pace time.Duration) <-chan time.Time {
	if pace > 0 {
		return time.Tick(pace)
	}
	lines := make(chan time.Time)
	go func() { // It ends with the process.
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- time.Now()
		}
	}()
	return lines
}

// tell is the story, a step at each beat. It ends with ctx, which is no error.
func tell(ctx context.Context, beat <-chan time.Time) (err error) {
	f, err := newFleet(servers + 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.configure(servers); err != nil {
		return err
	}
	for id := range servers {
		if err := f.start(id); err != nil {
			return err
		}
	}
	fmt.Println("Five servers talk to one another. Each has a page, which shows all links:")
	for id := range servers {
		fmt.Printf("  server %d: %s\n", id, f.pages[id])
	}
	fmt.Println("Ctrl-C ends it.")
	for _, step := range []struct {
		text string
		do   func() error
	}{
		{fmt.Sprintf("server %d is killed", victim), func() error { return f.kill(victim) }},
		{fmt.Sprintf("server %d is added to Config.json, which the others read again, and started: %s", added, f.pages[added]), func() error {
			if err := f.configure(servers + 1); err != nil {
				return err
			}
			if err := f.awaitMembers(ctx, servers+1); err != nil {
				return err
			}
			return f.start(added)
		}},
		{fmt.Sprintf("server %d is started again", victim), func() error { return f.start(victim) }},
	} {
		select {
		case <-beat:
		case <-ctx.Done():
			return nil
		}
		if err := step.do(); err != nil && ctx.Err() == nil {
			return err
		}
		fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), step.text)
	}
	<-ctx.Done()
	return nil
}
