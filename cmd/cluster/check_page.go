package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// A runState is what the page of a server says of it.
type runState struct {
	Page        string `json:"page"`
	Transport   string `json:"transport"`
	LinksUp     int    `json:"links_up"`
	Links       int    `json:"links"`       // to the servers that it knows
	Generation  uint64 `json:"generation"`  // how many changed configurations have taken effect since it started
	Incarnation uint64 `json:"incarnation"` // drawn anew at each start
}

// checkPages asks the pages of the servers, where the entries name them, what runs there.
func (r *report) checkPages(ctx context.Context, wait time.Duration) {
	var pages []string
	var of []*serverReport
	for _, s := range r.Servers {
		page := observe.PageOf(s.peer)
		if page == "" {
			continue
		}
		if u, err := url.Parse(page); err != nil || isLoopback(u.Hostname()) && !s.Here {
			continue // it is that of another machine
		}
		pages, of = append(pages, page), append(of, s)
	}
	client := &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true}}
	for i, w := range watch(ctx, client, pages) {
		if s := of[i]; w.Report != nil {
			r.compareRunning(s, w)
		} else if strings.HasPrefix(s.Answers, "yes") {
			r.note("page", s, "its page at %s says nothing: %s", w.URL, w.Error)
		}
	}
}

// compareRunning holds what a server says of itself against its entry.
func (r *report) compareRunning(s *serverReport, w watched) {
	st := w.Report.Stats
	switch {
	case st.Pid != s.ID:
		r.fault("page", s, "the page at %s is that of server %d", w.URL, st.Pid)
		return
	case st.Cluster != r.Cluster:
		r.fault("page", s, "it runs in the cluster %q, and the configuration is of %q: restart it with this file", plain(st.Cluster), r.Cluster)
	}
	s.Runs = &runState{Page: w.URL, Transport: plain(st.Transport), Generation: st.Reload.Generation, Incarnation: st.Incarnation}
	var has, want []int
	for _, m := range w.Report.Members {
		has = append(has, m.ID)
		if m.ID != s.ID {
			s.Runs.Links++
		}
	}
	for _, p := range st.Peers {
		if p.ID != s.ID && p.State == cluster.LinkUp {
			s.Runs.LinksUp++
		}
	}
	for _, other := range r.Servers {
		want = append(want, other.ID)
	}
	slices.Sort(want)
	switch {
	case st.Reload.Error != "":
		r.fault("page", s, "it has refused the file of its configuration as it is there: its log says why")
	case !slices.Equal(has, want):
		r.fault("page", s, "it runs with the servers %v, and the configuration lists %v: it has not taken this file over", has, want)
	}
}

// printRunning tells what is known of the servers that run.
func (r *report) printRunning(b io.Writer) {
	first := true
	for _, s := range r.Servers {
		if s.Runs == nil {
			continue
		}
		if first {
			fmt.Fprintln(b)
			first = false
		}
		fmt.Fprintf(b, "server %d: runs with the transport %s, %d of %d links are up, and its configuration has changed %d %s since it started\n",
			s.ID, s.Runs.Transport, s.Runs.LinksUp, s.Runs.Links, s.Runs.Generation, plural(int(s.Runs.Generation), "time", "times"))
	}
}
