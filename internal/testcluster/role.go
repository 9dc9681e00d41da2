//go:build unix

package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
)

func init() { Roles["servers"] = serve }

// A served is one server of a child.
type served struct {
	*cluster.Node
	ready   time.Time
	reader  *Reader
	traffic *Traffic
}

// serve is the role of a child: it plays servers, at the command of its stdin.
func serve() {
	warm()
	c := &crew{files: OpenFiles()}
	Obey(c.command)
}

// Obey passes the lines of stdin to command, and prints what it returns.
func Obey(command func(words []string) (any, error)) {
	for in := longLines(os.Stdin); in.Scan(); {
		reply, err := command(strings.Fields(in.Text()))
		line, jsonErr := json.Marshal(reply)
		if err = errors.Join(err, jsonErr); err != nil {
			line = fmt.Appendf(nil, "error: %q", err)
		}
		fmt.Printf("%s\n", line)
	}
}

// A crew are the servers of a child.
type crew struct {
	all   []*served
	files int // descriptors that were open before
}

func (c *crew) command(words []string) (any, error) {
	switch words[0] {
	case "hello":
	case "start":
		return nil, c.start()
	case "send":
		return nil, c.send(words[1:])
	case "halt":
		for _, s := range c.all {
			s.traffic.Halt()
		}
	case "pace":
		pause, err := time.ParseDuration(words[1])
		for _, s := range c.all {
			s.reader.Pause.Store(int64(pause))
		}
		return nil, err
	case "report":
		var reports []Report
		for _, s := range c.all {
			r, err := s.report()
			if err != nil {
				return nil, err
			}
			reports = append(reports, r)
		}
		return reports, nil
	case "usage":
		return UsageNow(), nil
	case "leave":
		c.leave()
	case "close":
		return c.close(), nil
	default:
		return nil, fmt.Errorf("unknown command %q", words)
	}
	return nil, nil
}

// ChildServers are the configuration and the ids that a child was given.
func ChildServers(level slog.Level) (cfg cluster.Config, pids []int, err error) {
	cfg, err = cluster.LoadConfig(os.Getenv(childConfig))
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return cfg, numbers(os.Getenv(childPids)), err
}

func numbers(list string) (ns []int) {
	for _, w := range strings.Split(list, ",") {
		n, err := strconv.Atoi(w)
		if err != nil {
			panic(err)
		}
		ns = append(ns, n)
	}
	return ns
}

func (c *crew) start() error {
	cfg, pids, err := ChildServers(slog.LevelInfo)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		n, err := cluster.NewFromConfig(pid, cfg)
		if err != nil {
			return err
		}
		c.all = append(c.all, &served{n, time.Now(), ReadAll(n), NewTraffic(n)})
	}
	return nil
}

func (c *crew) send(words []string) error {
	count, err1 := strconv.Atoi(words[1])
	size, err2 := strconv.Atoi(words[2])
	pause, err3 := time.ParseDuration(words[3])
	for _, s := range c.all {
		to := slices.DeleteFunc(numbers(words[0]), func(pid int) bool { return pid == s.Pid() })
		s.traffic.Send(to, count, size, pause)
	}
	return errors.Join(err1, err2, err3)
}

// leave never returns.
func (c *crew) leave() {
	for _, s := range c.all {
		s.traffic.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), Limit)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "Shutdown: %v\n%v\n", err, s.Stats())
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// close returns what is wrong after Close.
func (c *crew) close() (faults []string) {
	for _, s := range c.all {
		s.traffic.Halt()
		if err := s.Close(); err != nil {
			faults = append(faults, err.Error())
		}
		for _, p := range s.Stats().Peers {
			if b := p.Sent; b.Accepted != b.Sent+b.Queued+b.DroppedTotal() {
				faults = append(faults, fmt.Sprintf("the books of server %d for %d do not close: %+v", s.Pid(), p.ID, b))
			}
		}
	}
	if err := goleak.Find(); err != nil {
		faults = append(faults, "goroutines are left: "+err.Error())
	}
	if n, ok := Settle(OpenFiles, c.files); !ok {
		faults = append(faults, fmt.Sprintf("%d descriptors are open after Close, %d were before", n, c.files))
	}
	return faults
}

func (s *served) report() (Report, error) {
	r := Report{Ready: s.ready, From: make(map[int]*Tally), Next: make(map[int]uint64),
		Sending: s.traffic.sending(), Slowest: s.traffic.SlowestPut()}
	s.reader.mu.Lock()
	var from []int
	for pid := range s.reader.tallies {
		from = append(from, pid)
	}
	s.reader.mu.Unlock()
	for _, pid := range from {
		r.From[pid] = s.reader.Tally(pid)
	}
	for _, pid := range s.Peers() {
		r.Next[pid] = s.traffic.Number(pid)
	}
	var err error
	r.Stats, err = figuresOf(s.Node) // last: what is in a tally has been counted
	return r, err
}
