//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// serving starts the command run and waits until its server runs. It is ended with the test, if not before.
func serving(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := running(t, dir, append([]string{"run"}, args...)...)
	eventually(t, "the server runs", func() bool { return regexp.MustCompile(`(?m)^server \d+ runs`).MatchString(p.stderr()) })
	return p
}

var shownAt = regexp.MustCompile(`shows what it does at (http://\S+)`)

// page is where the page of a server is that the command run has started.
func (p *process) page(t testing.TB) string {
	t.Helper()
	m := shownAt.FindStringSubmatch(p.stderr())
	if m == nil {
		t.Fatalf("it does not say where its page is, but:\n%s", p.stderr())
	}
	return m[1]
}

// get asks a page, as host if that is not empty, and returns the status and the body.
func get(t testing.TB, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestRunPrintsWhatArrivesAndShowsWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir, _ := configured(t, 2)
			p := serving(t, dir, "Config.json", "-id", "1", "--http", "127.0.0.1:0")
			call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", "hello").want(t, 0)
			if got := p.line(t); !strings.HasSuffix(got, ` string "hello"`) {
				t.Errorf("it printed %s", got)
			}
			page := p.page(t)
			if code, text := get(t, page, ""); code != http.StatusOK || !strings.Contains(text, "cluster test, server 1") {
				t.Errorf("its page: %d\n%s", code, text)
			}
			if code, _ := get(t, page, "rebound.example"); code != http.StatusMisdirectedRequest {
				t.Errorf("its page by another name: %d", code)
			}
			if code, text := get(t, page+"metrics", ""); !strings.Contains(text, `cluster_messages_received_total{peer="0",server="1"} 1`) {
				t.Errorf("its metrics: %d\n%s", code, text)
			}
			// Somebody who looks does not keep it from ending.
			c, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(page, "http://"), "/"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := p.ended(t); code != 0 {
				t.Errorf("it ended with %d:\n%s", code, p.stderr())
			}
		})
	}
}

func TestRunPrintsJSON(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	p := serving(t, dir, "Config.json", "-id", "1", "--json")
	call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", "hello").want(t, 0)
	var l line
	if err := json.Unmarshal([]byte(p.line(t)), &l); err != nil || l.From != 0 || l.Value != "hello" {
		t.Errorf("it printed %+v, %v", l, err)
	}
	if strings.Contains(p.stderr(), "http") {
		t.Errorf("without --http it has a page:\n%s", p.stderr())
	}
}

func TestRunTakesAChangedConfigurationOverAtSIGHUP(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 2)
	config := filepath.Join(dir, "Config.json")
	before := read(t, config)
	p := serving(t, dir, "Config.json", "-id", "0")
	hangUp := func(want string) {
		t.Helper()
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it says "+want, func() bool { return strings.Contains(p.stderr(), want) })
	}
	write(t, dir, "Config.json", strings.Replace(before, fmt.Sprintf("%q }\n", at[1]), fmt.Sprintf("%q },\n {\"id\": 7, \"address\": %q}\n", at[1], addresses(t, 1)[0]), 1), 0o644)
	hangUp("the other servers are [1 7]")
	write(t, dir, "Config.json", "{", 0o644)
	hangUp("the configuration stays as it was")
	write(t, dir, "Config.json", before, 0o644)
	hangUp("the other servers are [1]")
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.ended(t); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, p.stderr())
	}
}

// withPages adds the field "http" to the entries of a configuration, and returns the addresses.
func withPages(t testing.TB, dir string, n int) []string {
	t.Helper()
	config := filepath.Join(dir, "Config.json")
	text, pages := read(t, config), addresses(t, n)
	for i, page := range pages {
		text = strings.Replace(text, fmt.Sprintf(`"id": %d,`, i), fmt.Sprintf(`"id": %d, "http": %q,`, i, page), 1)
	}
	write(t, dir, "Config.json", text, 0o644)
	return pages
}

func TestThePageIsWhereTheEntrySays(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	pages := withPages(t, dir, 2)
	serving(t, dir, "Config.json", "-id", "0")
	serving(t, dir, "Config.json", "-id", "1")
	if code, text := get(t, "http://"+pages[0]+"/", ""); code != http.StatusOK || !strings.Contains(text, `id="m1-0"`) || strings.Contains(text, "(silent)") {
		t.Errorf("the page of server 0 does not have what that of server 1 says: %d\n%s", code, text)
	}
	call(t, dir, "", "run", "Config.json", "-id", "0", "--http", pages[1]).want(t, 1, "--http "+pages[1], "address already in use")
}

func TestAPageThatOthersReachNeedsAFlag(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:80", "node.example:80"} {
		call(t, dir, "", "run", "Config.json", "-id", "0", "--http", address).want(t, exitUsage, "--http "+address, "--http-public")
	}
	p := serving(t, dir, "Config.json", "-id", "0", "--http", "0.0.0.0:0", "--http-public", "--http-host", "node.example")
	_, port, err := net.SplitHostPort(strings.Trim(strings.TrimPrefix(p.page(t), "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"": 200, "node.example": 200, own: 200, "rebound.example": 421, "192.0.2.1": 421} {
		if code, _ := get(t, "http://127.0.0.1:"+port+"/livez", host); code != want {
			t.Errorf("asked for %q it answers %d, want %d", host, code, want)
		}
	}
}

func TestTopPrintsOnceWhatAllServersDo(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	pages := withPages(t, dir, 2)
	serving(t, dir, "Config.json", "-id", "1")
	call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", "hello").want(t, 0)
	got := call(t, dir, "", "top", "Config.json", "--once").want(t, 1, "1 of 2 servers did not answer as they should", "connection refused", "http://"+pages[1])
	if !regexp.MustCompile(`(?m)^1 +test +[01] of 1 `).MatchString(got.out) || !regexp.MustCompile(`(?m)^1 +0 +(idle|connecting|up|unacknowledged|down) `).MatchString(got.out) {
		t.Errorf("it printed:\n%s", got.out)
	}
	got = call(t, dir, "", "top", "http://"+pages[1], pages[0], "--once", "--json").want(t, 1)
	var all []watched
	if err := json.Unmarshal([]byte(got.out), &all); err != nil {
		t.Fatalf("%v in:\n%s", err, got.out)
	}
	if len(all) != 2 || all[0].Report == nil || all[0].Report.Stats.Pid != 1 || all[0].Report.Stats.Received.Received != 1 || all[1].Report != nil || all[1].Error == "" {
		t.Errorf("it printed:\n%s", got.out)
	}
	call(t, dir, "", "top", pages[1], "--once").want(t, 0)
	call(t, dir, "", "top", pages[1]).want(t, exitUsage, "not a terminal")
}

// The argument is well formed, and what it names is not there: that is no wrong usage.
func TestTopEndsWith1WhereAFileCannotBeRead(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 1)
	for _, c := range []struct{ file, want string }{
		{"nosuch.json", "open nosuch.json: no such file or directory: want a configuration, or the URL of a server's page"},
		{"nothing", "open nothing: no such file or directory: want a configuration, or the URL of a server's page"},
		{"nowhere/Config.json", "open nowhere/Config.json: no such file or directory"},
		{"Config.json/x", "open Config.json/x: not a directory"},
		{".", "read .: is a directory"},
	} {
		call(t, dir, "", "top", c.file, "--once").want(t, exitFailed, c.want)
		call(t, dir, "", "top", at[0], c.file).want(t, exitFailed, c.want)
	}
}

func TestTopSaysWhatAnswersOtherwise(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 1)
	serve(t, at[0], "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	call(t, dir, "", "top", at[0], "--once").want(t, 1, "no page of a server: HTTP status 404")
	call(t, dir, "", "top", "Config.json", "--once").want(t, 1, "no entry says where the server's page is")
	at = addresses(t, 2)
	serve(t, at[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	call(t, dir, "", "top", at[0], "--once").want(t, 1, "/stats has another form")
	serve(t, at[1], "")
	call(t, dir, "", "top", at[1], "--once", "--wait", "100ms").want(t, 1, "no answer within 100ms")
}

func TestCheckTellsWhatRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string, pages []string)
		code   int
		want   string
	}{
		{"what the file says", func(*testing.T, string, []string) {}, 0, "server 1: runs with the transport "},
		{"a server more", func(t *testing.T, dir string, _ []string) {
			text := read(t, filepath.Join(dir, "Config.json"))
			write(t, dir, "Config.json", strings.Replace(text, "\n  ]", fmt.Sprintf(",\n {\"id\": 7, \"address\": %q}\n  ]", addresses(t, 1)[0]), 1), 0o644)
		}, 1, "it runs with the servers [0 1], and the configuration lists [0 1 7]: it has not taken this file over"},
		{"another cluster", func(t *testing.T, dir string, _ []string) {
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), `"test"`, `"other"`, 1), 0o644)
		}, 1, `it runs in the cluster "test", and the configuration is of "other"`},
		{"pages that are interchanged", func(t *testing.T, dir string, pages []string) {
			write(t, dir, "Config.json", strings.NewReplacer(pages[0], pages[1], pages[1], pages[0]).Replace(read(t, filepath.Join(dir, "Config.json"))), 0o644)
		}, 1, "is that of server 1"},
		{"a page that says nothing", func(t *testing.T, dir string, pages []string) {
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), pages[1], addresses(t, 1)[0], 1), 0o644)
		}, 0, "says nothing: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := configured(t, 2)
			pages := withPages(t, dir, 2)
			for id, page := range pages {
				web(t, page, observe.Handler(node(t, dir, id), observe.Options{}))
			}
			c.change(t, dir, pages)
			call(t, dir, "", "check", "Config.json", "--wait", "20s").want(t, c.code, c.want)
		})
	}
	t.Run("a file that was refused", func(t *testing.T) {
		t.Parallel()
		dir, _ := configured(t, 2)
		pages := withPages(t, dir, 2)
		config := filepath.Join(dir, "Config.json")
		n, err := cluster.New(0, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		web(t, pages[0], observe.Handler(n, observe.Options{}))
		before := read(t, config)
		write(t, dir, "Config.json", "{", 0o644)
		if err := n.Reload(); err == nil {
			t.Fatal("half a file was taken over")
		}
		write(t, dir, "Config.json", before, 0o644)
		call(t, dir, "", "check", "Config.json").want(t, 1, "server 0: it has refused the file of its configuration")
	})
}

// web serves a handler at an address until the test ends.
func web(t testing.TB, address string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { // The cleanup ends it.
		defer close(served)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
}
