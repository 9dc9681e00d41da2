package observe

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// limit is how long a test waits for what must happen.
const limit = time.Minute

// paths are all that the handler answers with 200.
var paths = []string{"/", "/style.css", "/page.js", "/icon.svg", "/events", "/stats", "/links", "/metrics", "/livez", "/readyz"}

// configOf is the configuration of n servers inside this process.
func configOf(t testing.TB, n int) cluster.Config {
	cfg := cluster.Config{Cluster: "tests", SendTimeout: 100 * time.Millisecond}
	for id := range n {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("mem://%s/%d", t.Name(), id)})
	}
	return cfg
}

// startOne starts one server of a configuration. It is closed with the test, if not before.
func startOne(t testing.TB, id int, cfg cluster.Config) *cluster.Node {
	t.Helper()
	n, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// start starts n servers inside this process.
func start(t testing.TB, n int) (nodes []*cluster.Node) {
	t.Helper()
	cfg := configOf(t, n)
	for id := range n {
		nodes = append(nodes, startOne(t, id, cfg))
	}
	return nodes
}

// send sends a message, whatever becomes of it.
func send(t testing.TB, n *cluster.Node, to int, msg any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_ = n.Send(ctx, &cluster.Envelope{Pid: to, Msg: msg})
	if ctx.Err() != nil {
		t.Fatalf("sending to server %d took longer than %v", to, limit)
	}
}

// serve serves a handler until the test ends.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// ask asks a handler for a path and returns the answer.
func ask(t testing.TB, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	return askAs(t, h, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
}

// askAs gives a handler a request, whose context ends soon where the answer has no end.
func askAs(t testing.TB, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	if strings.HasSuffix(r.URL.Path, "/events") {
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	}
	defer cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(ctx))
	return w
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// linkState waits until a node's link has a state.
func linkState(t testing.TB, n *cluster.Node, to int, want cluster.LinkState) {
	t.Helper()
	eventually(t, fmt.Sprintf("the link from %d to %d is %v", n.Pid(), to, want), func() bool {
		send(t, n, to, "are you there?")
		for _, p := range n.Stats().Peers {
			if p.ID == to {
				return p.State == want
			}
		}
		return false
	})
}

// A stream of a page, as a browser reads it.
type reader struct {
	t     testing.TB
	lines *bufio.Scanner
	stop  func()
}

// openStream opens a stream at a server. It is closed with the test, if not before.
func openStream(t testing.TB, server *httptest.Server, query string) (*reader, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	stop := func() { cancel(); answer.Body.Close() }
	t.Cleanup(stop)
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &reader{t, lines, stop}, answer
}

// next reads one event. It is "" at the end.
func (r *reader) next() (kind, data string) {
	r.t.Helper()
	for r.lines.Scan() {
		line := r.lines.Text()
		if text, ok := strings.CutPrefix(line, "event: "); ok {
			kind = text
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			data = text
		}
		if line == "" {
			return kind, data
		}
	}
	return "", ""
}

// patch reads one event, which must be a patch.
func (r *reader) patch() (p patch) {
	r.t.Helper()
	kind, data := r.next()
	if kind != "patch" {
		r.t.Fatalf("the stream has the event %q, want patch", kind)
	}
	if err := json.Unmarshal([]byte(data), &p); err != nil {
		r.t.Fatal(err)
	}
	return p
}
