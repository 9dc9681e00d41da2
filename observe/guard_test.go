package observe

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestOnlyTheNamesOfLoopbackAndHostsAreAnswered(t *testing.T) {
	h := Handler(start(t, 1)[0], Options{Hosts: []string{"Node1.example.org", "10.0.0.7:9090", "fe80::1"}})
	for _, c := range []struct {
		host string
		want int
	}{
		{"localhost", 200}, {"localhost:9090", 200}, {"LOCALHOST:9090", 200}, {"localhost.", 200},
		{"127.0.0.1", 200}, {"127.0.0.1:80", 200}, {"127.8.9.10:1", 200}, {"[::1]", 200}, {"[::1]:9090", 200}, {"[::ffff:127.0.0.1]:1", 200},
		{"node1.example.org", 200}, {"node1.example.org:1234", 200}, {"NODE1.EXAMPLE.ORG.", 200},
		{"10.0.0.7:9090", 200}, {"[fe80::1]:80", 200},
		{"10.0.0.7:9091", 421}, {"10.0.0.7", 421}, {"10.0.0.8:9090", 421}, {"", 421}, {"0.0.0.0", 421}, {"[::]", 421},
		{"rebound.example", 421}, {"localhost.example", 421}, {"127.0.0.1.example", 421}, {"example.localhost.org", 421}, {"2130706433", 421},
		{"node1.example.org.evil", 421}, {"evil:node1.example.org", 421}, {"[127.0.0.1", 200},
	} {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
			r.Host = c.host
			if w := askAs(t, h, r); w.Code != c.want {
				t.Errorf("GET %s at the host %q: %d, want %d", path, c.host, w.Code, c.want)
			}
		}
	}
}

func TestOnlyGETAndHEADAreAnswered(t *testing.T) {
	h := Handler(start(t, 1)[0], Options{})
	for _, path := range paths {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			w := askAs(t, h, httptest.NewRequest(method, "http://localhost"+path, nil))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d with Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	// Over a real connection, where the body of an answer to HEAD is left out.
	server := serve(t, h)
	for _, path := range paths {
		answer, err := server.Client().Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", path, answer.Status)
		}
	}
}

func TestEveryAnswerForbidsScriptsOfOthers(t *testing.T) {
	h := Handler(start(t, 2)[0], Options{})
	for _, path := range append(paths, "/nothing-here") {
		header := ask(t, h, path).Header()
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s has the policy %q", path, csp)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be taken for another type", path)
		}
		if got := header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s may be read by %s", path, got)
		}
	}
	page := ask(t, h, "/").Body.String()
	for _, bad := range []string{`<script>`, `<style`, ` style=`, ` on\w+=`, `javascript:`, `(?:src|href)="(?:[a-z]+:|/)`} {
		if found := regexp.MustCompile(bad).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
}

func TestPagesOfOthersCannotTakeViewersPlaces(t *testing.T) {
	h := Handler(start(t, 1)[0], Options{})
	for _, c := range []struct {
		site, mode string
		want       int
	}{
		{"", "", 200}, {"same-origin", "cors", 200}, {"none", "navigate", 200}, {"cross-site", "navigate", 200},
		{"cross-site", "no-cors", 403}, {"same-site", "cors", 403}, {"cross-site", "", 403},
	} {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
			r.Header.Set("Sec-Fetch-Site", c.site)
			r.Header.Set("Sec-Fetch-Mode", c.mode)
			if w := askAs(t, h, r); w.Code != c.want {
				t.Errorf("%s, asked by %q with %q: %d, want %d", path, c.site, c.mode, w.Code, c.want)
			}
		}
	}
}

func TestTextIsEscaped(t *testing.T) {
	const bad = `</title><script>alert("1")</script>&`
	cfg := configOf(t, 2)
	cfg.Cluster = bad
	h := Handler(startOne(t, 0, cfg), Options{})
	page := ask(t, h, "/").Body.String()
	if strings.Contains(page, "<script>") || !strings.Contains(page, "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;") {
		t.Errorf("the page has the name of the cluster as it stands:\n%s", page)
	}
	if stats := ask(t, h, "/stats"); strings.Contains(stats.Body.String(), "<script>") || stats.Header().Get("Content-Type") != "application/json" {
		t.Errorf("/stats has the name of the cluster as it stands, in %s:\n%s", stats.Header().Get("Content-Type"), stats.Body)
	}
}

// What nobody may learn from the page: what is sent, keys, and where files are.
func TestNoPayloadKeyOrPathIsShown(t *testing.T) {
	dir := t.TempDir()
	const secret = "the secret that is sent"
	file := filepath.Join(dir, "Config.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Paths of sockets are short, so this one is relative; server 1 never runs.
	write(`{"cluster": "tests", "transport": "go", "sendTimeout": "50ms", "peers": [{"id": 0, "address": "mem://` + t.Name() + `"},
		{"id": 1, "address": "ipc://obscure/directory/1.sock"}, {"id": 2, "address": "127.0.0.1:1"}]}`)
	node, err := cluster.New(0, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	h := Handler(node, Options{})
	for _, id := range []int{0, 1, 2} {
		send(t, node, id, secret)
	}
	linkState(t, node, 1, cluster.LinkDown)
	linkState(t, node, 2, cluster.LinkDown)
	for _, p := range node.Stats().Peers {
		if p.ID != 0 && p.Trouble == "" {
			t.Fatalf("Stats does not say why there is no connection to server %d: this tests little", p.ID)
		}
	}
	write("not a configuration")
	if err := node.Reload(); err == nil || !strings.Contains(err.Error(), "Config.json") {
		t.Fatalf("the error of Reload is %v, which tests little", err)
	}
	for _, path := range paths {
		text := ask(t, h, path).Body.String()
		for _, bad := range []string{secret, dir, "Config.json", "obscure", "1.sock", "mem://"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q:\n%s", path, bad, text)
			}
		}
	}
	if page := ask(t, h, "/").Body.String(); !strings.Contains(page, "the changed one is not in effect") {
		t.Errorf("the page does not say that the file is not in effect")
	}
}

func TestTroubleNamesNoFile(t *testing.T) {
	catalog, err := peercatalog.New(peercatalog.Peer{ID: 0, Address: "127.0.0.1:1"}, peercatalog.Peer{ID: 1, Address: "ipc://socket"})
	if err != nil {
		t.Fatal(err)
	}
	before := cluster.Stats{Peers: []cluster.PeerStats{{ID: 0, Trouble: "open /etc/key: denied"}, {ID: 1, Trouble: "socket: refused"}, {ID: 2, Trouble: "gone"}, {ID: 3}}}
	var got []string
	for _, p := range presentable(before, catalog).Peers {
		got = append(got, p.Trouble)
	}
	if diff := cmp.Diff([]string{"open … denied", unconnected, unconnected, ""}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if before.Peers[1].Trouble != "socket: refused" {
		t.Error("what it was given is changed")
	}
}

func TestWhatCouldBeAPathOrAKeyIsBlanked(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"127.0.0.1:8081: connect: connection refused", "127.0.0.1:8081: connect: connection refused"},
		{`"host.example": no answer for 2s`, `"host.example": no answer for 2s`},
		{"read: i/o timeout", "read: i/o timeout"},
		{"open /etc/cluster/1.key: denied", "open … denied"},
		{`open "/my own/1.key": denied`, `open …: denied`},
		{`open C:\keys\1.key: denied`, "open … denied"},
		{"the key " + strings.Repeat("aB3$", 10) + " is not listed", "the key … is not listed"},
		{strings.Repeat("word ", 100), strings.Repeat("word ", 40) + "…"},
		{"a\xffb", "a\uFFFDb"},
	} {
		if got := blanked(c.text); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.text, got, c.want)
		}
	}
}
