package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// reportWith makes a report of a server with two peers.
func reportWith(second int, change func(*cluster.Stats)) watched {
	start := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	s := cluster.Stats{Pid: 3, Cluster: "test", Transport: "go", QueueBytes: 1 << 20, Incarnation: 7, Peers: []cluster.PeerStats{
		{ID: 4, State: cluster.LinkUp, Since: start}, {ID: 5, State: cluster.LinkDown, Since: start, Trouble: "refused\x1b[2J\nthen"},
	}}
	change(&s)
	return watched{URL: "http://127.0.0.1:9", Report: &observe.Report{Time: start.Add(time.Duration(second) * time.Second),
		Members: []observe.Member{{ID: 3}, {ID: 4}, {ID: 5}}, OutboxSize: 10, InboxSize: 20, Stats: s}}
}

func TestTopShowsServersLinksAndRates(t *testing.T) {
	before := []watched{reportWith(0, func(*cluster.Stats) {}), {URL: "http://127.0.0.1:8", Error: "no answer within 2s"}}
	now := []watched{reportWith(2, func(s *cluster.Stats) {
		s.Sent.Sent, s.Peers[0].Sent.Sent, s.Peers[1].Sent.Dropped = 24, 24, map[cluster.Reason]uint64{cluster.ReasonUnreachable: 1500}
		s.Reload.Generation = 2
		s.Peers[0].RoundTrip, s.Peers[0].Sent.Unconfirmed = 321*time.Microsecond, 9
	}), before[1]}
	for _, c := range []struct {
		name   string
		before []watched
		want   []string
	}{
		{"with rates", before, []string{
			`(?m)^3 +test +1 of 2 +12/s +0/s +0 +0 +0 +0/10 +0/20 +go +change 2 +http://127.0.0.1:9$`,
			`(?m)^- +no answer within 2s .*http://127.0.0.1:8$`,
			`(?m)^3 +5 +down +2 s .* – +1\x{202f}500 +0 +0 +0 +refused\?\[2J\?then\n3 +4 +up +2 s +12/s +0/s +0 B/1.0 MiB +0 B +320µs +0 +9 +0 +0\n*$`,
		}},
		{"without", nil, []string{`(?m)^3 +test +1 of 2 +24 +0 `, `(?m)^3 +4 +up +2 s +24 +0 `}},
		{"after a restart", []watched{reportWith(0, func(s *cluster.Stats) { s.Incarnation = 6 }), before[1]}, []string{`(?m)^3 +4 +up +2 s +24 +0 `}},
	} {
		text := strings.Join(topLines(c.before, now, false), "\n")
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s: %s is not in:\n%s", c.name, want, text)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s: it has control characters: %q", c.name, text)
		}
	}
	lipgloss.SetColorProfile(termenv.ANSI)
	coloured := strings.Join(topLines(before, now, true), "\n")
	if !strings.Contains(coloured, "\x1b[1;31mdown\x1b[0m") || strings.Contains(coloured, "\x1b[2J") {
		t.Errorf("in colours it is %q", coloured)
	}
}

// A state that somebody should see stands out.
func TestTopHasAColourForEachStateButIdle(t *testing.T) {
	for _, s := range cluster.AllLinkStates() {
		if _, ok := states[s.String()]; ok == (s == cluster.LinkIdle) {
			t.Errorf("%v has a colour: %v", s, ok)
		}
	}
}

func TestTopMovesThroughWhatDoesNotFit(t *testing.T) {
	m := &topModel{now: []watched{reportWith(0, func(s *cluster.Stats) {
		for id := range 50 {
			s.Peers = append(s.Peers, cluster.PeerStats{ID: 100 + id})
		}
	})}}
	m.Update(tea.WindowSizeMsg{Width: 40, Height: 10})
	press := func(keys ...tea.KeyMsg) string {
		for _, k := range keys {
			m.Update(k)
		}
		return m.View()
	}
	for _, c := range []struct {
		name string
		keys []tea.KeyMsg
		want string
	}{
		{"at first", nil, "lines 1 to 8 of"},
		{"beyond the top", []tea.KeyMsg{{Type: tea.KeyUp}, {Type: tea.KeyPgUp}}, "lines 1 to 8 of"},
		{"down", []tea.KeyMsg{{Type: tea.KeyDown}}, "lines 2 to 9 of"},
		{"a page down", []tea.KeyMsg{{Type: tea.KeyPgDown}}, "lines 9 to 16 of"},
		{"the end, and beyond", []tea.KeyMsg{{Type: tea.KeyEnd}, {Type: tea.KeyDown}}, "lines 49 to 56 of 56"},
		{"home", []tea.KeyMsg{{Type: tea.KeyHome}}, "lines 1 to 8 of"},
	} {
		m.width = 200
		if got := press(c.keys...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in:\n%s", c.name, c.want, got)
		}
		m.width = 40
		for _, line := range strings.Split(m.View(), "\n") {
			if w := lipgloss.Width(line); w > 40 {
				t.Errorf("%s: a line is %d wide on a terminal of 40: %q", c.name, w, line)
			}
		}
	}
}
