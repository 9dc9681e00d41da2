package testcluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// The programs of docs/raft.md count together over one Raft or another. What tests them is here.

// CounterMain is for their TestMain. It is the program itself where the environment says so: the servers are processes of
// the test's own binary.
func CounterMain(m *testing.M, main func()) {
	if os.Getenv("COUNTER") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A counter is a server of such a program.
type counter struct {
	*exec.Cmd
	in   io.Writer
	said chan string
}

func beginCounter(t *testing.T, config string, id int) *counter {
	t.Helper()
	s := &counter{Cmd: exec.Command(os.Args[0], "-id", strconv.Itoa(id), "-config", config), said: make(chan string, 1000)}
	s.Env = append(os.Environ(), "COUNTER=1")
	s.Stderr = os.Stderr
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill(); s.Wait() })
	go func() { // ends with the process
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.said <- lines.Text()
		}
	}()
	return s
}

// reaches waits until the counter of a server has a value.
func (s *counter) reaches(t *testing.T, value int) {
	t.Helper()
	want, late := fmt.Sprint("counter: ", value), time.After(Limit)
	for {
		select {
		case line := <-s.said:
			if line == want {
				return
			}
		case <-late:
			t.Fatalf("it does not say %q", want)
		}
	}
}

// add types lines into a server until its counter has changed.
func (s *counter) add(t *testing.T, value int) {
	t.Helper()
	want, late := fmt.Sprint("counter: ", value), time.After(Limit)
	for {
		fmt.Fprintln(s.in)
		for again := time.After(5 * time.Second); again != nil; {
			select {
			case line := <-s.said:
				switch {
				case line == want:
					return
				case strings.HasPrefix(line, "not added"):
					again = time.After(100 * time.Millisecond) // There is no leader yet.
				}
			case <-again:
				again = nil
			case <-late:
				t.Fatalf("it does not say %q", want)
			}
		}
	}
}

// CounterCountsTogether checks that three servers, one of which is killed, agree on the number.
func CounterCountsTogether(t *testing.T) {
	cfg := cluster.Config{Cluster: "counter"}
	for id, address := range Addresses(t, "tcp", 3) {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: address})
	}
	config := WriteConfig(t, cfg)
	var servers []*counter
	for id := range 3 {
		servers = append(servers, beginCounter(t, config, id))
	}
	for n := range 3 { // whoever leads, two of these are others
		servers[n].add(t, n+1)
		for _, s := range servers {
			if s != servers[n] {
				s.reaches(t, n+1)
			}
		}
	}
	if err := servers[0].Process.Kill(); err != nil { // which may be the leader
		t.Fatal(err)
	}
	servers[1].add(t, 4)
	servers[2].reaches(t, 4)
	for _, s := range servers[1:] {
		if err := s.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// CounterIsShown checks that docs/raft.md has the program of the working directory, main.go, as it is.
func CounterIsShown(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/raft.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```go\n"+string(program)+"```\n") {
		t.Error("docs/raft.md shows another program than main.go")
	}
}
