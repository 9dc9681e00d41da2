package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// A site is where the page of a server is served; without a listener, nowhere.
type site struct {
	listener net.Listener
	options  observe.Options
	server   http.Server
	failed   chan error // why it serves no more
	served   chan struct{}
}

// siteOf listens where the flags, or the entry of the server, say that its page is.
func siteOf(c *cli.Command, cfg cluster.Config, id int) (*site, error) {
	s := &site{failed: make(chan error, 1), served: make(chan struct{})}
	close(s.served)
	address := c.String("http")
	if address == "" {
		i := slices.IndexFunc(cfg.Peers, hasID(id))
		if page := observe.PageOf(cfg.Peers[i]); page != "" {
			u, err := url.Parse(page)
			if err != nil {
				return nil, err
			}
			address = u.Host
		}
	}
	if address == "" {
		if c.Bool("http-public") || c.IsSet("http-host") {
			return nil, usageError("--http-public and --http-host are about a page: --http says where it is")
		}
		return s, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usageError("--http %q: want host:port, such as 127.0.0.1:9090", address)
	}
	if !isLoopback(host) && !c.Bool("http-public") {
		return nil, usageError("--http %s: others than this machine may reach that address, and the page has no password: use 127.0.0.1:%s, or add --http-public", address, port)
	}
	if s.listener, err = net.Listen("tcp", address); err != nil {
		return nil, fmt.Errorf("--http %s: %w", address, err)
	}
	s.options = observe.Options{Hosts: append(hostsOf(host), c.StringSlice("http-host")...), Pages: observe.PageOf, Quorum: c.Bool("quorum")}
	return s, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// hostsOf are the names by which a page is asked for that is served at the host: where that stands for
// all addresses of this machine, each of them and its name.
func hostsOf(host string) (hosts []string) {
	ip, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !ip.IsUnspecified()) {
		return []string{host}
	}
	for _, ip := range localIPs() {
		hosts = append(hosts, ip.WithZone("").String())
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	return hosts
}

// serve serves the page of the node, until close.
func (s *site) serve(node *cluster.Node) {
	if s.listener == nil {
		return
	}
	s.server = http.Server{Handler: observe.Handler(node, s.options), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	s.served = make(chan struct{})
	go func() { // close ends it, and waits for it.
		defer close(s.served)
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serving the page: %w", err)
		}
	}()
}

// close ends the page, whoever looks at it.
func (s *site) close() {
	if s.listener == nil {
		return
	}
	_ = s.listener.Close() // where nothing was served yet
	_ = s.server.Close()
	<-s.served
}

// told says where the page is.
func (s *site) told() string {
	if s.listener == nil {
		return ""
	}
	return fmt.Sprintf(", and shows what it does at http://%s/", s.listener.Addr())
}
