package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// ask sends a request to the leader and returns what it answers. A write is repeated until it is answered.
func ask(t *testing.T, c *fleet.Client, method, path, body string) (int, string) {
	t.Helper()
	return askAs(t, c, fleet.Request{Method: method, Path: path, Body: []byte(body), Name: rand.Text()})
}

func askAs(t *testing.T, c *fleet.Client, r fleet.Request) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	a, err := c.Do(ctx, r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	return a.Status, strings.TrimSpace(string(a.Body))
}

func TestTheInterface(t *testing.T) {
	t.Parallel()
	f := begin(t, false, thisProgram)
	c := fleet.NewClient(f.Addresses)
	for _, step := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/kv/a", "", 404, "there is no such key"},
		{"PUT", "/kv/a", "1", 204, ""},
		{"GET", "/kv/a", "", 200, "1"},
		{"PUT", "/kv/a?old=2", "3", 412, "the key has another value"},
		{"PUT", "/kv/a?old=1", "2", 204, ""},
		{"GET", "/kv/a", "", 200, "2"},
		{"PUT", "/kv/b?old=1", "2", 404, "there is no such key"},
		{"PUT", "/kv/a/b%20c", "in a folder", 204, ""},
		{"GET", "/kv/a/b%20c", "", 200, "in a folder"},
		{"DELETE", "/kv/a", "", 204, ""},
		{"DELETE", "/kv/a", "", 404, "there is no such key"},
		{"PUT", "/kv/empty", "", 204, ""},
		{"GET", "/kv/empty", "", 200, ""},
		{"PUT", "/kv/" + strings.Repeat("k", maxKey+1), "1", 400, "a key has 1 to 1024 bytes, and Idempotency-Key at most 128"},
		{"PUT", "/kv/large", strings.Repeat("v", maxValue+1), 413, "a value has at most 131072 bytes: http: request body too large"},
		{"GET", "/members", "", 200, "[0,1,2]"},
		{"PUT", "/members/7", "", 409, ""},
		{"PUT", "/members/x", "", 400, ""},
	} {
		status, answer := ask(t, c, step.method, step.path, step.body)
		if status != step.status || step.answer != "" && answer != step.answer {
			t.Errorf("%s %.40s: %d %q, want %d %q", step.method, step.path, status, answer, step.status, step.answer)
		}
	}
}

// A follower sends whoever asks it to the leader, with the same request.
func TestAFollowerNamesTheLeader(t *testing.T) {
	t.Parallel()
	f := begin(t, false, thisProgram)
	leads := leader(t, f)
	noRedirects := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for id := range 3 {
		if id == leads {
			continue
		}
		want := "http://" + f.Address(leads) + "/kv/a?old=1"
		late := time.Now().Add(deadline)
		for { // until it has heard of the leader
			r, err := http.NewRequest(http.MethodPut, "http://"+f.Address(id)+"/kv/a?old=1", strings.NewReader("2"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := noRedirects.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			p.Body.Close()
			if p.StatusCode == http.StatusTemporaryRedirect && p.Header.Get("Location") == want {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("server %d answered %d and names %q, want 307 and %q", id, p.StatusCode, p.Header.Get("Location"), want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// A write with a name is carried out once, however often it is sent.
func TestARepeatedRequestIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	f := begin(t, false, thisProgram)
	c := fleet.NewClient(f.Addresses)
	first := fleet.Request{Method: "PUT", Path: "/kv/a", Body: []byte("1"), Name: "one"}
	askAs(t, c, first)
	ask(t, c, "PUT", "/kv/a", "2")
	if status, _ := askAs(t, c, first); status != 204 {
		t.Errorf("the repeated request got %d, want 204 as at first", status)
	}
	if _, value := ask(t, c, "GET", "/kv/a", ""); value != "2" {
		t.Errorf("the value is %q, want 2: the first request was carried out again", value)
	}
}
