package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probesAtOnce bounds how many servers are asked at the same time.
const probesAtOnce = 64

// checkNetwork looks up, asks, and tries to listen at the addresses of all servers.
func (r *report) checkNetwork(ctx context.Context, wait time.Duration, a asker) {
	local := localIPs()
	probes := make([]*probe, len(r.Servers))
	slots := make(chan struct{}, probesAtOnce)
	var all sync.WaitGroup
	for i, s := range r.Servers {
		probes[i] = &probe{server: s, local: local, wait: wait, itself: s.ID == r.id, asker: a, mute: r.Keys && a.us == nil && !a.glance}
		all.Go(func() { // ctx and wait bound it.
			slots <- struct{}{}
			defer func() { <-slots }()
			probes[i].run(ctx)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return
	}
	for _, p := range probes {
		p.tryToListen(ctx) // after all have been asked: it would answer
		for _, text := range p.faults {
			r.fault("address", p.server, "%s", text)
		}
		for _, text := range p.notes {
			r.note("address", p.server, "%s", text)
		}
		p.server.Here, p.server.Answers, p.server.running = p.here, p.answers, p.answered
		if p.answered && p.here {
			p.server.Answers = "yes, a server runs here"
		}
	}
	r.checkShared(probes)
	r.checkLoopback(probes)
}

// checkShared finds servers with the same address. What is the same as it is written is
// among the faults of the configuration.
func (r *report) checkShared(probes []*probe) {
	for i, p := range probes {
		for _, q := range probes[:i] {
			shared := slices.IndexFunc(p.dial, func(a netip.AddrPort) bool { return slices.Contains(q.dial, a) })
			if shared >= 0 && p.server.peer.DialEndpoint() != q.server.peer.DialEndpoint() {
				r.fault("address", p.server, "%s is %s, which is also the address of server %d", p.server.Address, p.dial[shared], q.server.ID)
			}
		}
	}
}

// checkLoopback finds servers that the others cannot reach, since their address leads
// everybody to himself, while others are on other machines.
func (r *report) checkLoopback(probes []*probe) {
	beyond := func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() }
	if !slices.ContainsFunc(probes, func(p *probe) bool { return slices.ContainsFunc(p.dial, beyond) }) {
		return
	}
	for _, p := range probes {
		if len(p.dial) == 0 || slices.ContainsFunc(p.dial, beyond) {
			continue
		}
		host := p.host()
		switch {
		case p.server.onlyHere():
			r.fault("address", p.server, "address %q is loopback, which leads each machine to itself, and the addresses of others are not: on other machines nobody reaches this server", p.server.Address)
		case !slices.ContainsFunc(p.listen, beyond): // listen is dial where nothing else is said
			r.fault("address", p.server, "address %q is %s here, which is loopback, and the addresses of others are not: where this server listens on it, they do not reach it. "+
				`Give %s its real address in /etc/hosts, or say in "bind" where to listen, such as "*:%d"`, p.server.Address, p.dial[0].Addr(), host, p.dial[0].Port())
		}
	}
}

// A probe is what is found out about the address of one server.
type probe struct {
	server *serverReport
	local  []netip.Addr
	wait   time.Duration // for each answer
	itself bool          // this is said to be the machine of the server
	asker  asker
	mute   bool // nothing is asked

	here         bool             // it listens on this machine
	dial, listen []netip.AddrPort // what its addresses are, if they are TCP
	answers      string
	answered     bool // by a server of this cluster
	other        bool // something else has answered
	faults       []string
	notes        []string
}

func (p *probe) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *probe) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// host is that of the server's TCP address.
func (p *probe) host() string {
	_, address := splitEndpoint(p.server.peer.DialEndpoint())
	host, _, _ := net.SplitHostPort(address)
	return host
}

// onlyHere reports whether the server cannot run anywhere but on this machine.
func (s *serverReport) onlyHere() bool {
	scheme, rest := splitEndpoint(s.peer.DialEndpoint())
	host, _, _ := net.SplitHostPort(rest)
	ip, err := netip.ParseAddr(host)
	return scheme == "ipc" || scheme == "mem" || host == "localhost" || err == nil && ip.IsLoopback()
}

func splitEndpoint(endpoint string) (scheme, rest string) {
	scheme, rest, _ = strings.Cut(endpoint, "://")
	return scheme, rest
}

// run looks up the addresses of the server, and asks there.
func (p *probe) run(ctx context.Context) {
	scheme, dial := splitEndpoint(p.server.peer.DialEndpoint())
	_, bind := splitEndpoint(p.server.peer.BindEndpoint())
	switch scheme {
	case "mem":
		p.here, p.answers = true, "-"
	case "ipc":
		p.here = true
		p.ask(ctx, "unix", dial)
		if !p.answered {
			p.lookForPlace(bind)
		}
	default:
		p.lookUp(ctx, dial, bind)
		if len(p.dial) == 0 {
			return
		}
		var at []string
		for _, a := range p.dial {
			at = append(at, a.String())
		}
		if _, err := netip.ParseAddr(p.host()); err != nil {
			p.server.Resolved = at
		}
		p.ask(ctx, "tcp", at...)
	}
}

// lookForPlace finds out whether there could be a socket at a path of this machine.
func (p *probe) lookForPlace(path string) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		p.fault("%s exists and is not a socket", path)
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		p.fault("cannot listen on %s: %s: %s", path, dir, cause(err))
	case !info.IsDir():
		p.fault("cannot listen on %s: %s is not a directory", path, dir)
	}
}

// lookUp finds out what the addresses of the server are, and whether it is here.
func (p *probe) lookUp(ctx context.Context, dial, bind string) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.wait)
	defer cancel()
	var err error
	if p.dial, err = dialAddrs(ctx, dial); err != nil {
		p.answers = "no: its name does not resolve"
		p.fault("address %q: %v", p.server.Address, because(ctx, err))
		return
	}
	p.listen = p.dial
	if p.server.Bind != "" {
		if p.listen, err = listenAddrs(ctx, bind); err != nil {
			p.fault("bind %q: %v", p.server.Bind, because(ctx, err))
		}
	}
	p.here = slices.ContainsFunc(p.dial, p.isLocal)
	if p.server.Bind != "" && !p.here {
		p.here = p.itself || slices.ContainsFunc(p.listen, func(a netip.AddrPort) bool {
			return !a.Addr().IsUnspecified() && !a.Addr().IsLoopback() && p.isLocal(a)
		})
	}
	if p.itself && !p.here && len(p.listen) > 0 {
		p.fault(`address %q is no address of this machine: if the others reach it through another one, say in "bind" where to listen`, p.server.Address)
	}
}

func (p *probe) isLocal(a netip.AddrPort) bool { return isLocal(a.Addr(), p.local) }

// ask asks at the addresses in turn, as servers connect, until one answers as it should.
func (p *probe) ask(ctx context.Context, network string, addresses ...string) {
	if p.mute {
		p.answers = "not asked: no key here to ask with"
		return
	}
	var wrong []string // about addresses where something else answers
	best := 0
	for _, a := range addresses {
		err := p.askOne(ctx, network, a)
		if err == nil {
			p.answered, p.answers = true, "yes"
			break
		}
		o := outcomeOf(err, p.wait)
		if o.rank > best {
			best, p.answers = o.rank, o.answers
		}
		if o.fault != "" {
			wrong = append(wrong, a+": "+o.fault)
		}
	}
	for _, text := range wrong {
		if p.answered {
			p.note("%s; the server answers at another address of the name", text)
		} else {
			p.other = true
			p.fault("%s", text)
		}
	}
}

func (p *probe) askOne(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	return p.asker.ask(ctx, network, address, p.server.peer.Keys())
}

// An outcome is what it means that an asker has failed. Where several addresses have one,
// that with the highest rank is told.
type outcome struct {
	rank           int
	answers, fault string
}

func outcomeOf(err error, wait time.Duration) outcome {
	var mechanism mechanismError
	switch {
	case errors.As(err, &mechanism) && mechanism == "NULL":
		return outcome{3, "yes, without keys", "what answers has no keys, and the configuration has: it runs with an older one, or is another program"}
	case errors.As(err, &mechanism) && mechanism == "CURVE":
		return outcome{3, "yes, with keys", "what answers has keys, and the configuration has not: it runs with another one, or is another program"}
	case errors.Is(err, errWrongKey), errors.Is(err, errUnknown):
		return outcome{3, "yes, with another configuration", "what answers is a server, but " + err.Error()}
	case errors.As(err, &mechanism), errors.Is(err, errNoGreeting), errors.Is(err, errHungUp):
		return outcome{3, "yes, another program", "what answers is no server of a cluster: " + err.Error()}
	case errors.Is(err, errSilent):
		return outcome{2, "no: connected, and nothing was said", ""}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return outcome{1, "no: nothing listens there", ""}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return outcome{2, fmt.Sprintf("no: not within %v", wait), ""}
	}
	return outcome{2, "no: " + cause(err), ""}
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
