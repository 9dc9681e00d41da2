package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A row is what one server says of its links to the others: what /links returns.
type row struct {
	ID          int       `json:"id"`
	Incarnation uint64    `json:"incarnation,string"` // many readers of JSON do not keep integers of its size
	Time        time.Time `json:"time"`
	Links       []link    `json:"links"` // in order of id

	fault string // why there are none: the server did not answer as it should
}

type link struct {
	To      int      `json:"to"`
	State   rowState `json:"state"`
	Sent    uint64   `json:"sent"`    // messages since it started
	Dropped uint64   `json:"dropped"` // messages since it started
	// RoundTrip is how many seconds the peer takes to answer, with the way there and back; 0: not measured yet.
	RoundTrip float64 `json:"roundTripSeconds,omitempty"`
}

// A rowState is a cluster.LinkState that is also read from servers of later versions.
type rowState struct{ cluster.LinkState }

// laterState stands for the states that this version has no name for.
const laterState cluster.LinkState = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *rowState) UnmarshalText(text []byte) error {
	if s.LinkState.UnmarshalText(text) != nil {
		s.LinkState = laterState
	}
	return nil
}

func rowOf(s cluster.Stats, at time.Time) row {
	r := row{ID: s.Pid, Incarnation: s.Incarnation, Time: at, Links: make([]link, 0, len(s.Peers))}
	for _, p := range s.Peers {
		if p.ID != s.Pid {
			r.Links = append(r.Links, link{To: p.ID, State: rowState{p.State}, Sent: p.Sent.Sent, Dropped: p.Sent.DroppedTotal(), RoundTrip: p.RoundTrip.Seconds()})
		}
	}
	return r
}

// PageOf is for Options.Pages where the entries of a configuration name the pages, in a field
// "http": an address such as "127.0.0.1:9090", or a URL. It returns that URL, or "" for entries that
// have no such field or one that cannot be used.
func PageOf(p peercatalog.Peer) string {
	var text string
	if err := json.Unmarshal(p.Extra["http"], &text); err != nil || text == "" {
		return ""
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

const (
	// rowTime bounds how long another server may take to answer.
	rowTime = time.Second
	// rowMost bounds the answer of another server: there are 65,536 links at most.
	rowMost = 8 << 20
	// idleTime is how long a connection to another server is kept for the next look.
	idleTime = 5 * time.Second
)

// A fetcher asks other servers for their rows.
type fetcher struct {
	client http.Client
	pages  func(peercatalog.Peer) string // nil: there are none
}

func newFetcher(pages func(peercatalog.Peer) string) *fetcher {
	return &fetcher{pages: pages, client: http.Client{
		Timeout:   rowTime,
		Transport: &http.Transport{IdleConnTimeout: idleTime, MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("it leads elsewhere, which is not followed")
		},
	}}
}

// rows asks all servers but the node itself that have a page.
func (f *fetcher) rows(ctx context.Context, c *peercatalog.Catalog, self int) map[int]row {
	rows := make(map[int]row)
	if f.pages == nil || c.Len() > meshMost {
		return rows
	}
	var mu sync.Mutex // guards rows
	var all sync.WaitGroup
	for _, id := range c.IDs() {
		peer, ok := c.Get(id)
		if !ok || id == self {
			continue
		}
		page := f.pages(peer)
		if page == "" {
			continue
		}
		all.Go(func() { // rowTime bounds it.
			r := f.row(ctx, page, id)
			mu.Lock()
			defer mu.Unlock()
			rows[id] = r
		})
	}
	all.Wait()
	return rows
}

// row asks one server. The fault of the row that it returns names no address.
func (f *fetcher) row(ctx context.Context, page string, id int) (r row) {
	failed := func(format string, args ...any) row { return row{ID: id, fault: fmt.Sprintf(format, args...)} }
	address, err := url.JoinPath(page, "links")
	if err != nil {
		return failed("has a page whose URL cannot be used")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return failed("has a page whose URL cannot be used")
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return failed("does not answer")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return failed("answers with HTTP status %d", answer.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, rowMost)).Decode(&r); err != nil || r.Time.IsZero() {
		return failed("answers with something else than its links")
	}
	if r.ID != id {
		return failed("has the page of server %d", r.ID)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1)) // to its end, so that the connection serves the next look
	return r
}
