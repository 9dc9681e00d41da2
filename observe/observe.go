// Package observe shows what a running server of a cluster is doing, over HTTP: a page for people
// that renews itself, its counters as JSON and for Prometheus, and two probes.
//
//	server, err := cluster.New(0, "Config.json")
//	...
//	go http.ListenAndServe("127.0.0.1:9090", observe.Handler(server, observe.Options{}))
//
// # Paths
//
//	/         the page: all links between the servers as a matrix, this server's links in detail,
//	          what was dropped and refused and why, and what has changed. It works without JavaScript
//	/stats    a Report as JSON: the server's cluster.Stats, and who is in its catalogue
//	/metrics  the metrics of Collector, for Prometheus
//	/livez    200 while the node runs, whoever its peers are, and 503 once it has closed
//	/readyz   the same; with Options.Quorum 503 also while it has no majority
//
// Beside these are what the page itself asks for: style.css, page.js, icon.svg, events (its
// changes, as server-sent events), and links (this server's row of the matrix, for the pages of
// the others). All references are relative, so that a program may mount the handler below a
// path, with http.StripPrefix.
//
// # What it costs
//
// All of it is taken from Node.Stats when somebody asks; a page that is open also follows Node.Events. While nobody does, the handler has no
// goroutine and no timer, and samples nothing.
//
// # Who may see it
//
// There is no password: whoever reaches the address sees the page, which has ids, counters and
// the reasons of failures, and no message, key or path. So serve it on a loopback address, or
// behind something that knows who asks. The handler refuses, with 421, requests that came by
// another name than those of loopback and Options.Hosts, since otherwise any web site could read it
// through the browser of somebody who reaches it, by letting its own name lead here (DNS
// rebinding). It answers GET and HEAD alone, and changes nothing.
package observe

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Options are what Handler can be told. The zero value is one server by itself, on loopback.
type Options struct {
	// Hosts are the names and addresses, beside those of loopback, by which requests may ask for
	// the handler: what stands in the address bar, such as "node1.example.org" or "10.0.0.7". With
	// a port, as in "10.0.0.7:9090", only that one counts.
	Hosts []string

	// Pages returns the URL at which another server of the catalogue has its Handler, or "" if it
	// has none. While somebody looks at the page, the rows of the matrix that are about other
	// servers come from there, at most once a second; and a server that has such a page and does
	// not answer within a second is shown as silent. It is called often, from several
	// goroutines, and must not block. Nil: only this server's own row is known, and that it hears others.
	// PageOf is one for configurations that name the pages.
	Pages func(peercatalog.Peer) string

	// Quorum makes /readyz answer 503 while the server, and those that it has a link to which is
	// up, are no majority of the cluster (without observers). A link is up when its peer has acknowledged
	// what was sent, so this is for programs that send to all others now and then, or have Config.Watch. It is not
	// for the readiness of pods that must be reachable in order to find their quorum.
	Quorum bool
}

// Handler returns what serves the page of node, and all that the package comment lists. It may be
// used by any number of goroutines. When the node has closed, streams to pages end, and what is
// asked afterwards shows its last state.
//
// At most 16 pages renew themselves at a time; the others are told 503, and try again. The pages'
// streams last: an http.Server with a WriteTimeout does not cut them, and its Shutdown waits for
// them unless the node is closed before.
func Handler(node *cluster.Node, o Options) http.Handler {
	h := &handler{node: node, options: o, sampler: newSampler(node, o.Pages), interval: interval}
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector(node))
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", h.page)
	for _, a := range assets {
		mux.Handle("/"+a.name, a)
	}
	mux.HandleFunc("/events", h.events)
	mux.HandleFunc("/stats", h.stats)
	mux.HandleFunc("/links", h.links)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: mostScrapes}))
	mux.HandleFunc("/livez", h.livez)
	mux.HandleFunc("/readyz", h.readyz)
	return guard(newHosts(o.Hosts), mux)
}

// mostScrapes bounds how many requests for metrics are answered at a time.
const mostScrapes = 4

type handler struct {
	node    *cluster.Node
	options Options
	sampler *sampler
	viewers viewers

	interval time.Duration // how often a page renews itself
}

// closed reports whether the node has closed.
func (h *handler) closed() bool {
	select {
	case <-h.node.Done():
		return true
	default:
		return false
	}
}
