package observe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	tag   string // the ETag of a row of states; "": it is none, or has none
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

// states is the row without what changes while the states of the links do not, and with a tag that changes with these.
func (r row) states() row {
	all := strconv.AppendUint(nil, r.Incarnation, 10)
	all = strconv.AppendInt(append(all, ' '), int64(r.ID), 10)
	links := make([]link, len(r.Links))
	for i, l := range r.Links {
		links[i] = link{To: l.To, State: l.State}
		all = strconv.AppendInt(append(all, ' '), int64(l.To), 10)
		all = strconv.AppendInt(append(all, ' '), int64(l.State.LinkState), 10)
	}
	hash := fnv.New64a()
	hash.Write(all)
	r.Links, r.tag = links, fmt.Sprintf(`"%x"`, hash.Sum64())
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

// onlyStates is the query of /links for a row of states.
const onlyStates = "only=states"

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

// rows asks all servers but the node itself that have a page. Of large clusters, whose matrix has no more, it asks for the
// states of the links, and for nothing if they are as in the row before.
func (f *fetcher) rows(ctx context.Context, c *peercatalog.Catalog, self int, before map[int]row) map[int]row {
	rows := make(map[int]row)
	if f.pages == nil || c.Len() > meshMost {
		return rows
	}
	query := ""
	if c.Len() > wordyMost {
		query = onlyStates
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
			r := f.row(ctx, page, query, id, before[id])
			mu.Lock()
			defer mu.Unlock()
			rows[id] = r
		})
	}
	all.Wait()
	return rows
}

// row asks one server. The fault of the row that it returns names no address.
func (f *fetcher) row(ctx context.Context, page, query string, id int, before row) (r row) {
	failed := func(format string, args ...any) row { return row{ID: id, fault: fmt.Sprintf(format, args...)} }
	request, err := newRowRequest(ctx, page, query, before.tag)
	if err != nil {
		return failed("has a page whose URL cannot be used")
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return failed("does not answer")
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotModified && before.tag != "" {
		return before
	}
	if answer.StatusCode != http.StatusOK {
		return failed("answers with HTTP status %d", answer.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, rowMost)).Decode(&r); err != nil || r.Time.IsZero() {
		return failed("answers with something else than its links")
	}
	if r.ID != id {
		return failed("has the page of server %d", r.ID)
	}
	if query == onlyStates {
		r.tag = answer.Header.Get("ETag")
	}
	slices.SortFunc(r.Links, func(a, b link) int { return cmp.Compare(a.To, b.To) })
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1)) // to its end, so that the connection serves the next look
	return r
}

// newRowRequest asks for the row of a server, unless it still has a tag.
func newRowRequest(ctx context.Context, page, query, tag string) (*http.Request, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath("links")
	u.RawQuery = query
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err == nil && query == onlyStates && tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	return request, err
}
