//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestTheNameServerKnowsTheNamesThatItIsGiven(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, addrs: make(map[string]netip.Addr)}
	s.runs.Go(s.serve)
	t.Cleanup(s.close)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	s.admit("one.faults", "10.77.0.1")
	if got, err := resolver.LookupNetIP(ctx, "ip", "one.faults."); err != nil || len(got) != 1 || got[0].Unmap() != netip.MustParseAddr("10.77.0.1") {
		t.Errorf("one.faults is %v, %v; want 10.77.0.1", got, err)
	}
	const late = 50 * time.Millisecond
	s.deny("one.faults", late)
	began := time.Now()
	got, err := resolver.LookupNetIP(ctx, "ip", "one.faults.")
	if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("one.faults is %v, %v; want that there is no such name", got, err)
	}
	if took := time.Since(began); took < late {
		t.Errorf("the answer came after %v; want %v or more", took, late)
	}
	if s.denials() == 0 {
		t.Error("no denial was counted")
	}
}
