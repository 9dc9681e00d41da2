package observe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// viewersMost is how many pages renew themselves at a time.
	viewersMost = 16
	// stallTime is how long a page may not take what is written before it loses its place.
	stallTime = 10 * time.Second
	// reconnect is after how long a page whose stream has broken comes back.
	reconnect = time.Second
)

// viewers counts the pages that renew themselves.
type viewers struct {
	mu    sync.Mutex // guards count
	count int
}

// enter takes a place, if one is free.
func (v *viewers) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count == viewersMost {
		return false
	}
	v.count++
	return true
}

// leave gives it back, and reports whether nobody is there any more.
func (v *viewers) leave() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count--
	return v.count == 0
}

// A patch is what has changed of a page.
type patch struct {
	Clock  string       `json:"clock"`
	Stamp  string       `json:"stamp"`
	Cells  [][3]string  `json:"cells"`  // id, text (or a meter's value), class
	Events []patchEvent `json:"events"` // the oldest first
}

type patchEvent struct {
	Clock string `json:"clock"`
	Stamp string `json:"stamp"`
	Text  string `json:"text"`
	Class string `json:"class"`
}

// together is how long after an event of the node what comes with it is waited for, before a page is told.
const together = 100 * time.Millisecond

// wakes returns a channel that gets the time at which something has become of a peer, and the function that ends that. What happens before
// a time is taken is not told again.
func (h *handler) wakes(ctx context.Context) (woke <-chan time.Time, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	c, ended, began := make(chan time.Time, 1), make(chan struct{}), time.Now()
	go func() { // end ends it, and waits for it.
		defer close(ended)
		for e := range h.node.Events(ctx) {
			if e.At.Before(began) {
				continue // how things stood
			}
			select {
			case c <- time.Now():
			default:
			}
		}
	}()
	return c, func() {
		cancel()
		<-ended
	}
}

// every is how often a page renews its figures. Of a cluster with so many servers that their matrix has only states, it
// does so half as often, since that is most of what it costs its browser; what becomes of a peer comes at once in both.
func (h *handler) every() time.Duration {
	if h.node.Catalog().Len() > wordyMost {
		return 2 * h.interval
	}
	return h.interval
}

// events is the stream of a page: server-sent events, one in each time of every, and one as soon as something has become of a peer. The page says what it has: its layout, and
// the number of its newest event.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	if h.closed() {
		http.Error(w, "The server has closed.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	if !h.viewers.enter() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("There are %d viewers already.", viewersMost), http.StatusServiceUnavailable)
		return
	}
	defer func() {
		if h.viewers.leave() {
			h.sampler.rest()
		}
	}()
	s := stream{w: w, out: http.NewResponseController(w), layout: r.URL.Query().Get("layout"), newest: newestOf(r)}
	ticker := time.NewTicker(h.every())
	defer ticker.Stop()
	woke, end := h.wakes(r.Context())
	defer end()
	var since time.Time // of the event that woke it; zero: it was none
	for {
		v, err := h.sampler.look(r.Context(), since)
		if err != nil || s.show(v) != nil {
			return
		}
		select {
		case <-ticker.C:
			since = time.Time{}
		case since = <-woke:
			select {
			case <-time.After(together):
			case <-r.Context().Done():
			}
		case <-h.node.Done():
			_ = s.send("closed", struct{}{}) // it ends here, whether the page is told or not
			return
		case <-r.Context().Done():
			return
		}
	}
}

// newestOf is the number of the newest event that a page has: one that comes back after its stream has broken tells
// by Last-Event-ID which it had then.
func newestOf(r *http.Request) uint64 {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("newest")
	}
	n, _ := strconv.ParseUint(text, 10, 64) // anything else is none
	return n
}

// A stream is that of one page.
type stream struct {
	w      http.ResponseWriter
	out    *http.ResponseController
	layout string // of the page
	newest uint64 // the number of the newest event that it has
	seen   *view  // what it shows; nil: unknown
}

// errLayout ends the stream of a page that has to be loaded anew.
var errLayout = errors.New("the page has another layout")

// show sends what the page has otherwise than v.
func (s *stream) show(v *view) error {
	if v == s.seen {
		return nil
	}
	if v.layout != s.layout {
		return cmp.Or(s.send("layout", struct{}{}), errLayout)
	}
	p := patch{Clock: v.Clock(), Stamp: v.Stamp(), Cells: [][3]string{}, Events: []patchEvent{}}
	for i, c := range v.cells {
		if s.seen == nil || s.seen.cells[i] != c {
			p.Cells = append(p.Cells, [3]string{c.ID, c.Text, c.Class})
		}
	}
	for i := len(v.Events) - 1; i >= 0; i-- {
		if e := v.Events[i]; e.seq > s.newest {
			p.Events = append(p.Events, patchEvent{e.Clock(), e.Stamp(), e.Text, e.Class})
		}
	}
	s.seen, s.newest = v, max(s.newest, v.Newest())
	return s.send("patch", p)
}

// send writes one event, and waits until the page takes it, or does not for stallTime.
func (s *stream) send(kind string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "retry: %d\nid: %d\nevent: %s\ndata: %s\n\n", reconnect.Milliseconds(), s.newest, kind, text)
	_ = s.out.SetWriteDeadline(time.Now().Add(stallTime)) // a server of the program's own may not have it
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return err
	}
	return s.out.Flush()
}
