//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A nameServer answers DNS queries on a host of the trial's network. It runs in the driver.
type nameServer struct {
	conn net.PacketConn
	runs sync.WaitGroup // serve, and the answers that are late

	mu     sync.Mutex // guards what follows
	addrs  map[string]netip.Addr
	late   time.Duration // how long it takes to say that there is no such name
	denied int           // queries that were answered so
}

// newNameServer starts a name server on a host, and makes it that of all hosts. It knows the
// names of the first servers.
func (n *network) newNameServer(on, servers int) (*nameServer, error) {
	s := &nameServer{addrs: make(map[string]netip.Addr)}
	for id := range servers {
		s.addrs[hostName(id)] = netip.MustParseAddr(hostAddress(id))
	}
	err := inNamespace(n.hosts[on], func() (err error) {
		s.conn, err = net.ListenPacket("udp", hostAddress(on)+":53")
		return err
	})
	if err != nil {
		return nil, err
	}
	n.t.onEnd(s.close)
	s.runs.Go(s.serve) // close ends it, and waits.
	for host := range n.hosts {
		if err := n.file(host, "resolv.conf", "nameserver "+hostAddress(on)+"\n"); err != nil {
			return nil, err
		}
		// Whatever this machine's own file says.
		if err := n.file(host, "hosts", "127.0.0.1 localhost\n"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// hostName is the name of a host that the name server knows.
func hostName(host int) string { return fmt.Sprintf("server%d.faults", host) }

// deny has the name server say, late, that there is no such name.
func (s *nameServer) deny(name string, late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.addrs, name)
	s.late = late
}

// admit gives a name an address.
func (s *nameServer) admit(name, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[name] = netip.MustParseAddr(address)
}

// denials is how many queries were answered by saying that there is no such name.
func (s *nameServer) denials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.denied
}

func (s *nameServer) close() {
	s.conn.Close()
	s.runs.Wait()
}

func (s *nameServer) serve() {
	for query := make([]byte, 1500); ; {
		n, from, err := s.conn.ReadFrom(query)
		if err != nil {
			return // it is closed
		}
		answer, late, err := s.answer(query[:n])
		if err != nil {
			continue // that was no query
		}
		s.runs.Go(func() { // It ends after a short time; close waits.
			time.Sleep(late)
			s.conn.WriteTo(answer, from)
		})
	}
}

// answer makes the answer to a query, and says how long that is to take.
func (s *nameServer) answer(query []byte) (answer []byte, late time.Duration, err error) {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil, 0, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, 0, err
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, Authoritative: true, RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{q},
	}
	s.mu.Lock()
	a, known := s.addrs[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	if !known {
		m.RCode, late = dnsmessage.RCodeNameError, s.late
		s.denied++
	}
	s.mu.Unlock()
	if known && q.Type == dnsmessage.TypeA { // of other types the name has nothing
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: a.As4()},
		}}
	}
	answer, err = m.Pack()
	return answer, late, err
}
