// Maelstrom is a server of a cluster for Maelstrom, the workbench of Jepsen that tests distributed systems: it speaks lines
// of JSON with Maelstrom on its standard input and output, and what the servers say to one another are frames of the
// library inside such lines. Its argument is the workload: echo, unique-ids, broadcast or lin-kv. README.md explains it.
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/abhishekg16/cluster"
)

// A server is one server under test, as its workload sees it.
type server struct {
	node     *cluster.Node
	requests chan request // from clients; closed when the input ends
	out      *output
}

// workloads are the services, each of which answers requests until there are no more.
var workloads = map[string]func(*server) error{
	"echo":       echo,
	"unique-ids": uniqueIDs,
	"broadcast":  broadcast,
	"lin-kv":     linKV,
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "maelstrom:", err)
		os.Exit(1)
	}
}

// run serves the workload that args name, until in ends.
func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 || workloads[args[0]] == nil {
		return fmt.Errorf("the arguments are %q: want one workload of %s", args,
			strings.Join(slices.Sorted(maps.Keys(workloads)), ", "))
	}
	s := &server{requests: make(chan request, 64), out: newOutput(out)}
	lines := newInput(in)
	net, err := s.join(lines)
	if err != nil {
		return errors.Join(err, s.out.close())
	}
	defer net.close()
	ended := make(chan error, 1)
	go func() { // It ends with the input, or with the program.
		defer close(s.requests)
		ended <- s.read(lines, net)
	}()
	err = workloads[args[0]](s)
	// Before the output, which its frames go to.
	err = errors.Join(err, s.node.Close(), s.out.close())
	if err != nil {
		return err // The input may go on.
	}
	return <-ended
}

// join waits for the message that says who the servers are, and starts this one.
func (s *server) join(lines *input) (*network, error) {
	m, err := lines.next()
	if err != nil {
		return nil, fmt.Errorf("no message init came: %w", err)
	}
	r, err := m.request()
	if err != nil {
		return nil, err
	}
	var init struct {
		NodeID  string   `json:"node_id"`
		NodeIDs []string `json:"node_ids"`
	}
	if err := r.decode(&init); err != nil || r.kind != "init" {
		return nil, fmt.Errorf("the first message is %s: want one of type init (%v)", m.Body, err)
	}
	s.out.self = init.NodeID
	net, err := newNetwork(init.NodeID, init.NodeIDs, s.out)
	if err != nil {
		return nil, err
	}
	if s.node, err = cluster.NewFromConfig(net.pid, net.config()); err != nil {
		return nil, err
	}
	s.reply(r, "init_ok", nil)
	return net, nil
}

// read passes on what comes, until the input ends.
func (s *server) read(lines *input, net *network) error {
	for {
		m, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := m.request()
		switch {
		case err != nil:
			return err
		case r.kind == frameType:
			net.receive(r)
		default:
			s.requests <- r
		}
	}
}
