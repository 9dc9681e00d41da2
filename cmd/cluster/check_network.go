package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probesAtOnce bounds how many servers are asked at the same time.
const probesAtOnce = 64

// checkNetwork looks up, asks, and tries to listen at the addresses of all servers.
func (r *report) checkNetwork(ctx context.Context, wait time.Duration) {
	local := localIPs()
	probes := make([]probe, len(r.Servers))
	slots := make(chan struct{}, probesAtOnce)
	var all sync.WaitGroup
	for i, s := range r.Servers {
		all.Go(func() { // It ends by itself, within a few times wait.
			slots <- struct{}{}
			defer func() { <-slots }()
			probes[i] = s.probe(ctx, local, wait, s.ID == r.id)
		})
	}
	all.Wait()
	first := make(map[string]int) // the index of the server with that address
	for i, s := range r.Servers {
		p := probes[i]
		if p.listenAt != nil {
			p.tryToListen(ctx) // after all have been asked: it would answer
		}
		for _, text := range p.faults {
			r.fault("address", s, "%s", text)
		}
		s.Here, s.Answers = p.here, p.answers
		mechanism := "NULL"
		if r.Keys {
			mechanism = "CURVE"
		}
		switch {
		case p.greeting == nil:
		case p.greeting.mechanism == mechanism:
			s.Answers = "yes"
			if s.Here {
				s.Answers = "yes, a server runs here"
			}
		case r.Keys && p.greeting.mechanism == "NULL":
			s.Answers = "yes, without keys"
			r.fault("address", s, "%s: what answers has no keys, and the configuration has: it runs with an older one, or is another program", p.asked)
		case !r.Keys && p.greeting.mechanism == "CURVE":
			s.Answers = "yes, with keys"
			r.fault("address", s, "%s: what answers has keys, and the configuration has not: it runs with another one, or is another program", p.asked)
		default:
			s.Answers = "yes, another program"
			r.fault("address", s, "%s: what answers uses ZeroMQ's mechanism %q: it is no server of a cluster", p.asked, p.greeting.mechanism)
		}
		for _, a := range p.endpoints {
			if j, ok := first[a]; !ok {
				first[a] = i
			} else if j != i {
				r.fault("address", s, "%s is %s, which is also the address of server %d", s.Address, a, r.Servers[j].ID)
			}
		}
	}
}

// A probe is what was found out about the address of one server.
type probe struct {
	here      bool     // it listens on this machine
	endpoints []string // what the address resolves to
	asked     string   // where the answer is from
	answers   string
	greeting  *greeting    // nil: none came
	listenAt  *net.TCPAddr // where to try; nil: nowhere
	faults    []string
}

func (p *probe) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// onlyHere reports whether the server cannot run anywhere but on this machine.
func (s *serverReport) onlyHere() bool {
	scheme, rest := splitEndpoint(s.peer.DialEndpoint())
	host, _, _ := net.SplitHostPort(rest)
	ip := net.ParseIP(host)
	return scheme == "ipc" || scheme == "mem" || host == "localhost" || ip != nil && ip.IsLoopback()
}

func splitEndpoint(endpoint string) (scheme, rest string) {
	scheme, rest, _ = strings.Cut(endpoint, "://")
	return scheme, rest
}

// probe asks at the address of the server, and finds out where to try to listen in its
// place. asItself tells that this is said to be the machine of the server.
func (s *serverReport) probe(ctx context.Context, local []net.IP, wait time.Duration, asItself bool) (p probe) {
	ctx, cancel := context.WithTimeout(ctx, 4*wait)
	defer cancel()
	scheme, dial := splitEndpoint(s.peer.DialEndpoint())
	_, bind := splitEndpoint(s.peer.BindEndpoint())
	switch scheme {
	case "mem":
		p.here, p.answers = true, "-"
		return p
	case "ipc":
		p.here = true
		p.ask(ctx, "unix", dial, wait)
		if info, err := os.Lstat(bind); p.answers != "yes" && err == nil && info.Mode()&os.ModeSocket == 0 {
			p.fault("%s exists and is not a socket", bind)
		}
		return p
	}
	reached, err := lookUp(ctx, dial, wait)
	if err != nil {
		p.answers = "no: its name does not resolve"
		p.fault("address %q: %v", s.Address, err)
		return p
	}
	listening := reached
	if s.Bind != "" {
		if listening, err = lookUp(ctx, bind, wait); err != nil {
			p.fault("bind %q: %v", s.Bind, err)
		}
	}
	for _, a := range reached {
		p.endpoints = append(p.endpoints, a.String())
	}
	p.here = slices.ContainsFunc(reached, func(a *net.TCPAddr) bool { return isLocal(a.IP, local) })
	if s.Bind != "" && !p.here {
		p.here = asItself || slices.ContainsFunc(listening, func(a *net.TCPAddr) bool { return !a.IP.IsUnspecified() && !a.IP.IsLoopback() && isLocal(a.IP, local) })
	}
	if asItself && !p.here && len(listening) > 0 {
		p.fault(`address %q is no address of this machine: if the others reach it through another one, say in "bind" where to listen`, s.Address)
	}
	p.ask(ctx, "tcp", reached[0].String(), wait)
	if p.here && p.greeting == nil && len(listening) > 0 && !(s.Bind != "" && runsAt(ctx, *listening[0], wait)) {
		p.listenAt = listening[0]
	}
	return p
}

// runsAt reports whether a ZeroMQ socket listens there, which the address of the
// server may not lead to from here.
func runsAt(ctx context.Context, at net.TCPAddr, wait time.Duration) bool {
	if at.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := greet(ctx, "tcp", at.String())
	return err == nil
}

// ask connects, and reads the greeting of what is there.
func (p *probe) ask(ctx context.Context, network, address string, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	p.asked = address
	g, err := greet(ctx, network, address)
	switch {
	case err == nil:
		p.greeting, p.answers = g, "yes"
	case errors.Is(err, errNoGreeting):
		p.answers = "yes, another program"
		p.fault("%s: what answers is no server of a cluster: it does not speak ZeroMQ's protocol", address)
	case errors.Is(err, errSilent):
		p.answers = "no: connected, and nothing was said"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		p.answers = "no: nothing listens there"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		p.answers = fmt.Sprintf("no: not within %v", wait)
	default:
		p.answers = "no: " + cause(err)
	}
}

// tryToListen finds out whether a server could listen where none answers.
func (p *probe) tryToListen(ctx context.Context) {
	at := p.listenAt
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	switch {
	case err == nil:
		l.Close()
	case len(p.faults) > 0 && errors.Is(err, syscall.EADDRINUSE):
		// It was said already who has it.
	case errors.Is(err, syscall.EADDRINUSE):
		p.fault("%s: the port is in use on this machine, by a server that is stopped or by another program", at)
	case errors.Is(err, syscall.EACCES):
		p.fault("%s: this user may not listen there: ports below 1024 are for root", at)
	default:
		p.fault("cannot listen on %s: %s", at, cause(err))
	}
}

// cause is the innermost error: what remains to be said where the address was named.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
