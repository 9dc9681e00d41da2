package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

const deadline = time.Minute

// A process is a server.
type process struct {
	*exec.Cmd
	in   io.Writer
	said chan string
}

// TestMain is the program itself where the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("COUNTER") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func begin(t *testing.T, config string, id int) *process {
	t.Helper()
	s := &process{Cmd: exec.Command(os.Args[0], "-id", strconv.Itoa(id), "-config", config), said: make(chan string, 1000)}
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
func (s *process) reaches(t *testing.T, value int) {
	t.Helper()
	want, late := fmt.Sprint("counter: ", value), time.After(deadline)
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
func (s *process) add(t *testing.T, value int) {
	t.Helper()
	want, late := fmt.Sprint("counter: ", value), time.After(deadline)
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

func TestServersCountTogether(t *testing.T) {
	config := filepath.Join(t.TempDir(), "Config.json")
	writeConfig(t, config, 3)
	var servers []*process
	for id := range 3 {
		servers = append(servers, begin(t, config, id))
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

// writeConfig writes the configuration of servers on free ports.
func writeConfig(t *testing.T, name string, servers int) {
	t.Helper()
	cfg := cluster.Config{Cluster: "counter"}
	for id := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are known, so that they differ
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: l.Addr().String()})
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheDocumentShowsThisProgram(t *testing.T) {
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
