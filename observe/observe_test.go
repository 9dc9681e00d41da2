package observe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestThePageIsAPlainTableWithoutJavaScript(t *testing.T) {
	nodes := start(t, 3)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	nodes[2].Close()
	linkState(t, nodes[0], 2, cluster.LinkDown)
	eventually(t, "what is sent to server 2 is dropped at once", func() bool {
		send(t, nodes[0], 2, "x")
		return nodes[0].Stats().Sent.Dropped[cluster.ReasonUnreachable] > 0
	})
	page := ask(t, Handler(nodes[0], Options{}), "/").Body.String()
	for _, want := range []string{
		"<title>cluster tests, server 0</title>", `<noscript><meta http-equiv="refresh"`,
		`<td id="m0-1" title="0 to 1" class="up">up`, `<td id="m0-2" title="0 to 2" class="down">down</td>`, `<td id="m1-2" title="1 to 2">?</td>`,
		`<span id="up" class="lost">1 of 2</span>`, "<td>dropped for</td><td>2</td><td>unreachable</td>", "the link to server 2 is down",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestItMayBeMountedBelowAPath(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/debug/cluster/", http.StripPrefix("/debug/cluster", Handler(start(t, 1)[0], Options{})))
	for _, path := range paths {
		if w := ask(t, mux, "/debug/cluster"+path); w.Code != http.StatusOK {
			t.Errorf("%s below a path: %d", path, w.Code)
		}
	}
}

// The page that a browser has, changed by what the stream sends, is the page that the server has then.
func TestTheStreamMakesThePageWhatItIsAtTheServer(t *testing.T) {
	nodes := start(t, 3)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	sampler := newSampler(nodes[0], nil)
	look := func() *view {
		t.Helper()
		if sampler.last != nil {
			sampler.last.at = sampler.last.at.Add(-interval) // it is not fresh any more
		}
		v, err := sampler.look(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := look()
	out := httptest.NewRecorder()
	s := stream{w: out, out: http.NewResponseController(out), layout: v.layout}
	cells, events := make(map[string]cell), 0
	for i := range 4 {
		if err := s.show(v); err != nil {
			t.Fatal(err)
		}
		p := (&reader{t: t, lines: bufio.NewScanner(out.Body)}).patch()
		for _, c := range p.Cells {
			cells[c[0]] = cell{c[0], c[1], c[2]}
		}
		events += len(p.Events)
		if first := i == 0; first != (len(p.Cells) == len(v.cells)) || len(p.Cells) == 0 {
			t.Errorf("patch %d has %d of %d cells: want all in the first, and then those that have changed", i, len(p.Cells), len(v.cells))
		}
		for _, c := range v.cells {
			if cells[c.ID] != c {
				t.Errorf("after patch %d the page has %q, want %q", i, cells[c.ID], c)
			}
		}
		if events != len(v.Events) {
			t.Errorf("after patch %d the page has %d events, want %d", i, events, len(v.Events))
		}
		for range i + 1 { // so that the rate is another one
			send(t, nodes[0], 1, i)
		}
		v = look()
	}
	var page strings.Builder
	if err := pageTemplate.Execute(&page, v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.cells {
		if strings.Count(page.String(), fmt.Sprintf("id=%q", c.ID)) != 1 {
			t.Errorf("the page does not have the cell %q once", c)
		}
	}
	// A peer more is another layout, which ends the stream.
	if err := nodes[0].Catalog().Put(peercatalog.Peer{ID: 9, Address: "mem://" + t.Name() + "/9"}); err != nil {
		t.Fatal(err)
	}
	if err := s.show(look()); !errors.Is(err, errLayout) || !strings.Contains(out.Body.String(), "\nevent: layout\n") {
		t.Errorf("a peer more: %v, and the stream has %q", err, out.Body)
	}
}

// attribute is the first value of an attribute in a text.
func attribute(t testing.TB, text, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, name+`="`)
	if !ok {
		t.Fatalf("there is no %s in:\n%s", name, text)
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestAtMost16PagesRenewThemselves(t *testing.T) {
	h := Handler(start(t, 1)[0], Options{})
	server := serve(t, h)
	query := "?layout=" + attribute(t, ask(t, h, "/").Body.String(), "data-layout")
	var readers []*reader
	for i := range viewersMost {
		r, answer := openStream(t, server, query)
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %s", i, answer.Status)
		}
		readers = append(readers, r)
	}
	if _, answer := openStream(t, server, query); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s", answer.Status)
	}
	readers[3].stop()
	eventually(t, "a place is free again", func() bool {
		r, answer := openStream(t, server, query)
		defer r.stop()
		return answer.StatusCode == http.StatusOK
	})
}

func TestStreamsEndWhenTheNodeCloses(t *testing.T) {
	n := start(t, 1)[0]
	h := Handler(n, Options{})
	server := serve(t, h)
	r, _ := openStream(t, server, "?layout="+attribute(t, ask(t, h, "/").Body.String(), "data-layout"))
	r.patch()
	n.Close()
	kind := "patch"
	for kind == "patch" {
		kind, _ = r.next()
	}
	if kind != "closed" {
		t.Errorf("the last event is %q, want closed", kind)
	}
	if w := ask(t, h, "/events"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("another stream: %d", w.Code)
	}
	eventually(t, "the page shows that it is closed", func() bool {
		return strings.Contains(ask(t, h, "/").Body.String(), "this server has closed")
	})
}

func TestItCostsNothingWhileNobodyLooks(t *testing.T) {
	nodes := start(t, 3)
	for _, n := range nodes[1:] {
		linkState(t, nodes[0], n.Pid(), cluster.LinkUp)
	}
	other := httptest.NewServer(Handler(nodes[1], Options{}))
	defer other.Close()
	before := runtime.NumGoroutine()
	h := Handler(nodes[0], Options{Pages: func(p peercatalog.Peer) string {
		return map[int]string{1: other.URL, 2: "http://127.0.0.1:1"}[p.ID]
	}})
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("the handler has %d goroutines before anybody looks", now-before)
	}
	server := httptest.NewServer(h)
	before = runtime.NumGoroutine()
	var readers []*reader
	for range 3 {
		r, _ := openStream(t, server, "?layout="+attribute(t, ask(t, h, "/").Body.String(), "data-layout"))
		if kind, _ := r.next(); kind == "" {
			t.Fatal("the stream has ended")
		}
		readers = append(readers, r)
	}
	if now := runtime.NumGoroutine(); now <= before {
		t.Errorf("with three viewers there are %d goroutines, and %d without: this tests little", now, before)
	}
	for _, r := range readers {
		r.stop()
	}
	server.Client().CloseIdleConnections()
	eventually(t, "all goroutines of the viewers have ended", func() bool { return runtime.NumGoroutine() <= before })
	server.Close()
}

// sampled has a sample taken, and returns the layout of the page that shows it.
func sampled(t *testing.T, h *handler) (layout string) {
	t.Helper()
	v, err := h.sampler.look(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return v.layout
}

// reads has the stream of a page read into w until leave is called, which ends ctx and returns when the stream has ended.
func reads(t *testing.T, h *handler, layout string, w http.ResponseWriter) (ctx context.Context, leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { // It ends with ctx, and is waited for in leave.
		defer close(gone)
		h.events(w, httptest.NewRequest(http.MethodGet, "/events?layout="+layout, nil).WithContext(ctx))
	}()
	return ctx, func() {
		cancel()
		<-gone
	}
}

// While somebody looks, the node and the pages of the others are asked once a second; from when the last has gone, never.
func TestNothingIsSampledWhileNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, asked := start(t, 2), 0
		h := &handler{node: nodes[0], interval: interval, sampler: newSampler(nodes[0], func(peercatalog.Peer) string {
			asked++
			return ""
		})}
		_, leave := reads(t, h, sampled(t, h), httptest.NewRecorder())
		time.Sleep(10*interval + interval/2)
		leave()
		last, times := h.sampler.last, asked
		if times < 10 || times > 12 || time.Since(last.at) > interval {
			t.Errorf("with a viewer the pages were asked for %d times, at last %v ago", times, time.Since(last.at))
		}
		time.Sleep(time.Hour)
		nodes[1].Close() // an event
		time.Sleep(time.Hour)
		if h.sampler.last != last || asked != times {
			t.Errorf("with nobody there a sample was taken %v later, and the pages were asked for %d times", h.sampler.last.at.Sub(last.at), asked-times)
		}
	})
}

// downs notes when the stream of a page tells that a link is down.
type downs struct {
	*httptest.ResponseRecorder
	at *[]time.Time
}

func (d downs) Write(text []byte) (int, error) {
	if strings.Contains(string(text), "the link to server 1 is down") {
		*d.at = append(*d.at, time.Now())
	}
	return d.ResponseRecorder.Write(text)
}

// The figures of a large cluster are renewed every other second, and the others asked as often; what becomes of a peer is told as soon as in a small one.
func TestThePageOfManyServersRenewsItselfEveryTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, asked := configOf(t, wordyMost+1), 0
		nodes := []*cluster.Node{startOne(t, 0, cfg), startOne(t, 1, cfg)}
		linkState(t, nodes[0], 1, cluster.LinkUp)
		h := &handler{node: nodes[0], interval: interval, sampler: newSampler(nodes[0], func(p peercatalog.Peer) string {
			if p.ID == 1 {
				asked++
			}
			return ""
		})}
		layout, out, told := sampled(t, h), httptest.NewRecorder(), []time.Time(nil)
		asked = 0
		ctx, leave := reads(t, h, layout, downs{out, &told})
		time.Sleep(10*interval + interval/2) // a look at the start, which has the sample above, and five more
		synctest.Wait()
		if patches := strings.Count(out.Body.String(), "event: patch"); asked != 5 || patches != 6 {
			t.Errorf("in 10 s the others were asked for %d times, and %d patches were sent, want 5 and 6", asked, patches)
		}
		down, gaveUp := time.Time{}, time.AfterFunc(limit, leave)
		defer gaveUp.Stop()
		nodes[1].Close()
		for e := range nodes[0].Events(ctx) {
			if e.Kind == cluster.EventDown {
				down = time.Now()
				break
			}
		}
		time.Sleep(2 * together)
		leave()
		if len(told) != 1 || told[0].Sub(down) > together {
			t.Errorf("the link was down at %v, and the page was told at %v, want once and within %v", down, told, together)
		}
	})
}

func TestTheRowsOfOthersComeFromTheirPages(t *testing.T) {
	nodes := start(t, 8)
	for _, n := range nodes[1:] {
		linkState(t, nodes[0], n.Pid(), cluster.LinkUp)
	}
	linkState(t, nodes[1], 2, cluster.LinkUp)
	wrongID := serve(t, Handler(nodes[1], Options{}))
	answers := func(f http.HandlerFunc) string { return serve(t, f).URL }
	stalled := make(chan struct{})
	pages := map[int]string{
		1: serve(t, Handler(nodes[1], Options{})).URL + "/",
		2: wrongID.URL,
		3: "http://127.0.0.1:1/",
		4: answers(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }),
		5: answers(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, wrongID.URL+"/links", http.StatusFound)
		}),
		6: answers(func(http.ResponseWriter, *http.Request) { <-stalled }),
	}
	t.Cleanup(func() { close(stalled) }) // before the server is closed
	h := Handler(nodes[0], Options{Pages: func(p peercatalog.Peer) string { return pages[p.ID] }})
	page := ask(t, h, "/").Body.String()
	for _, want := range []string{
		`<td id="m1-2" title="1 to 2" class="up">`,
		"the page of server 2 has the page of server 1", "the page of server 3 does not answer",
		"the page of server 4 answers with something else than its links", "the page of server 5 does not answer", "the page of server 6 does not answer",
		`<th scope="row" id="h3" class="down">3
(silent)</th>`,
		`<td id="m3-1" title="3 to 1">?</td>`, `<th scope="row" id="h7">7</th>`, `<td id="m7-1" title="7 to 1">?</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestPageOfReadsTheFieldHTTP(t *testing.T) {
	for _, c := range []struct{ field, want string }{
		{`"127.0.0.1:9090"`, "http://127.0.0.1:9090"},
		{`"https://node.example/cluster/"`, "https://node.example/cluster/"},
		{`""`, ""}, {`9090`, ""}, {`null`, ""}, {`"ftp://x"`, ""}, {`"http://"`, ""}, {`"http://a b"`, ""}, {``, ""},
	} {
		p := peercatalog.Peer{Extra: map[string]json.RawMessage{"http": json.RawMessage(c.field)}}
		if got := PageOf(p); got != c.want {
			t.Errorf("%s: %q, want %q", c.field, got, c.want)
		}
	}
	if got := PageOf(peercatalog.Peer{}); got != "" {
		t.Errorf("without the field: %q", got)
	}
}

func TestStatsCanBeReadBack(t *testing.T) {
	nodes := start(t, 2)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	h := Handler(nodes[0], Options{})
	var r Report
	same, diff := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), "the node's own Stats change all the time"
	for range 100 {
		before := nodes[0].Stats()
		r = Report{}
		if err := json.NewDecoder(ask(t, h, "/stats").Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(before, nodes[0].Stats(), same) {
			diff = cmp.Diff(before, r.Stats, same)
			break
		}
		time.Sleep(10 * time.Millisecond) // something came between
	}
	if diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff([]Member{{ID: 0}, {ID: 1}}, r.Members); diff != "" {
		t.Errorf("the members: want -, got +:\n%s", diff)
	}
	if r.InboxSize != 1024 || r.OutboxSize != 1024 || time.Since(r.Time) > limit {
		t.Errorf("the report is %+v", r)
	}
}

func TestLivezAnswersWhileTheNodeRuns(t *testing.T) {
	n := start(t, 3)[0]
	for _, o := range []Options{{}, {Quorum: true}} {
		if w := ask(t, Handler(n, o), "/livez"); w.Code != http.StatusOK {
			t.Errorf("%+v: %d %s", o, w.Code, w.Body)
		}
	}
	n.Close()
	for _, path := range []string{"/livez", "/readyz"} {
		if w := ask(t, Handler(n, Options{}), path); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s after the end: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestReadyzCanWantAQuorum(t *testing.T) {
	cfg := configOf(t, 4)
	cfg.Peers[3].Observer = true
	var nodes []*cluster.Node
	for id := range 4 {
		nodes = append(nodes, startOne(t, id, cfg))
	}
	h := Handler(nodes[0], Options{Quorum: true})
	expect := func(code int, text string) {
		t.Helper()
		if w := ask(t, h, "/readyz"); w.Code != code || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%d %q, want %d %q", w.Code, w.Body, code, text)
		}
	}
	linkState(t, nodes[0], 3, cluster.LinkUp)
	expect(503, "1 of 3 servers are up, and 2 are a majority") // observers do not count
	if w := ask(t, Handler(nodes[0], Options{}), "/readyz"); w.Code != http.StatusOK {
		t.Errorf("without Quorum: %d %s", w.Code, w.Body)
	}
	linkState(t, nodes[0], 1, cluster.LinkUp)
	expect(200, "2 of 3")
	nodes[1].Close()
	linkState(t, nodes[0], 1, cluster.LinkDown)
	expect(503, "1 of 3")
	observer := Handler(nodes[3], Options{Quorum: true})
	linkState(t, nodes[3], 2, cluster.LinkUp)
	nodes[0].Close() // which it had answered
	linkState(t, nodes[3], 0, cluster.LinkDown)
	if w := ask(t, observer, "/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "1 of 3") {
		t.Errorf("an observer that finds one of three up: %d %s", w.Code, w.Body)
	}
}

// A large cluster has no matrix, and no more rows than a page can have.
func TestThePageOfAVeryLargeClusterIsBounded(t *testing.T) {
	cfg := configOf(t, 2000)
	n := startOne(t, 0, cfg)
	asked := false
	h := Handler(n, Options{Pages: func(peercatalog.Peer) string { asked = true; return "" }})
	page := ask(t, h, "/").Body.String()
	if rows := strings.Count(page, "<tr>"); rows > linksMost+reasonsMost+10 || strings.Contains(page, "All links") || asked {
		t.Errorf("the page has %d rows, and the matrix: %v, and asks for other pages: %v", rows, strings.Contains(page, "All links"), asked)
	}
	if !strings.Contains(page, fmt.Sprintf("%d more links", 1999-linksMost)) {
		t.Error("the page does not say that there are more")
	}
}

func TestViewersShareSamples(t *testing.T) {
	n := start(t, 1)[0]
	s := newSampler(n, nil)
	first, err := s.look(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*view]bool{first: true}
	for range 100 {
		v, err := s.look(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		seen[v] = true
	}
	if len(seen) > 100/2 {
		t.Errorf("100 looks at once took %d samples", len(slices.Collect(maps.Keys(seen))))
	}
}

// A page is told of what becomes of a peer when it happens, and not only when it is time to renew it.
func TestAPageShowsEventsAsTheyCome(t *testing.T) {
	nodes := start(t, 2)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	h := &handler{node: nodes[0], sampler: newSampler(nodes[0], nil), interval: 10 * limit}
	server := serve(t, http.HandlerFunc(h.events))
	v, err := h.sampler.look(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := openStream(t, server, "?layout="+v.layout)
	r.patch() // how things stand
	nodes[1].Close()
	if p := r.patch(); len(p.Events) == 0 || !strings.Contains(p.Events[len(p.Events)-1].Text, "the link to server 1 is down") {
		t.Errorf("the page is told %+v", p.Events)
	}
}
