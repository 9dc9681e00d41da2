package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/shell"
)

// checked runs check with --json, and returns its report and exit code.
func checked(t testing.TB, dir string, args ...string) (r report, code int) {
	t.Helper()
	got := call(t, dir, "", append([]string{"check", "--json", "--wait", "20s"}, args...)...) // the last one counts
	if err := json.Unmarshal([]byte(got.out), &r); err != nil {
		t.Fatalf("%v in:\n%s%s", err, got.out, got.err)
	}
	return r, got.code
}

// refusedHandshakes closes a node, so that all its accounts are in, and returns how many
// handshakes it counts as failed.
func refusedHandshakes(t testing.TB, n *cluster.Node) uint64 {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	st := n.Stats()
	return st.Received.Refused[cluster.RefusedHandshake] + st.Received.Refused[cluster.RefusedKey]
}

func TestServersThatAreCheckedCountNoFailedHandshake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		make  func(testing.TB, int) (string, []string)
		spoil func(t *testing.T, dir string) []string
		want  string // that check says of server 1
		count uint64
	}{
		{"without keys", configured, nil, "yes, a server runs here", 0},
		{"with keys", keyed, nil, "yes, a server runs here", 0},
		{"with the key of -id alone", keyed, func(t *testing.T, dir string) []string {
			os.Remove(filepath.Join(dir, "1.key"))
			return []string{"-id", "0"}
		}, "yes, a server runs here", 0},
		{"with no key", keyed, func(t *testing.T, dir string) []string {
			removeKeys(t, dir)
			return []string{"-id", "0"}
		}, "not asked: no key here to ask with; something listens", 0},
		{"with no key, all the same", keyed, func(t *testing.T, dir string) []string {
			removeKeys(t, dir)
			return []string{"-id", "0", "--without-key"}
		}, "yes, a server runs here", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := c.make(t, 2)
			n := node(t, dir, 1)
			args := []string{"Config.json"}
			if c.spoil != nil {
				args = append(args, c.spoil(t, dir)...)
			}
			for range 3 {
				r, _ := checked(t, dir, args...)
				if got := r.Servers[1].Answers; got != c.want {
					t.Errorf("of server 1 it says %q, want %q", got, c.want)
				}
			}
			if got := refusedHandshakes(t, n); got != 3*c.count {
				t.Errorf("the server counts %d failed handshakes, want %d", got, 3*c.count)
			}
		})
	}
}

func removeKeys(t testing.TB, dir string) {
	t.Helper()
	keys, _ := filepath.Glob(filepath.Join(dir, "*.key"))
	for _, k := range keys {
		if err := os.Remove(k); err != nil {
			t.Fatal(err)
		}
	}
}

// What answers at an address has other keys than the configuration of who asks.
func TestCheckFindsServersWithOtherKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		theirs func(t *testing.T, dir string) // changes the configuration that server 1 is started with
		want   string
	}{
		{"its own", func(t *testing.T, dir string) {
			call(t, dir, "", "keygen", "Config.json", "-id", "1", "--force").want(t, 0)
		},
			"what answers is a server, but it has another key than the configuration says"},
		{"the others'", func(t *testing.T, dir string) {
			call(t, dir, "", "keygen", "Config.json", "-id", "0", "--force").want(t, 0)
		},
			"what answers is a server, but it does not let in the key that it was asked with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ours, _ := keyed(t, 2)
			theirs := t.TempDir()
			for _, name := range []string{"Config.json", "0.key", "1.key"} {
				write(t, theirs, name, read(t, filepath.Join(ours, name)), 0o600)
			}
			c.theirs(t, theirs)
			node(t, theirs, 1)
			r, code := checked(t, ours, "Config.json", "-id", "0")
			if code != exitFailed || len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Text, c.want) || r.Servers[1].Answers != "yes, with another configuration" {
				t.Errorf("it ends with %d, and says %q and %v, want %q", code, r.Servers[1].Answers, r.Faults, c.want)
			}
		})
	}
}

func TestCheckAsksWithEachKeyOfAServerWhoseKeyIsChanged(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 2)
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 0)
	node(t, dir, 1) // with its old key
	call(t, dir, "", "check", "Config.json", "--wait", "20s").want(t, 0, "yes, a server runs here", "ok, the previous one")
}

// keygen says to delete keys where their servers are not.
func TestCheckOfOneServerWantsItsKeyAlone(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 3)
	for _, other := range []string{"0.key", "2.key"} {
		if err := os.Remove(filepath.Join(dir, other)); err != nil {
			t.Fatal(err)
		}
	}
	call(t, dir, "", "check", "Config.json", "-id", "1").want(t, 0, "no faults", "not here")
	os.Remove(filepath.Join(dir, "1.key"))
	call(t, dir, "", "check", "Config.json", "-id", "1").want(t, 1, "1 fault:", "1.key: there is no such file")
}

func TestCheckReportsAnAddressThatServersShareOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ host, about string }{
		"as it is written":      {"127.0.0.1", "config"},
		"by another name":       {"localhost", "address"},
		"by a name in capitals": {"LOCALHOST", "address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := addresses(t, 1)[0]
			_, port, _ := net.SplitHostPort(at)
			write(t, dir, "Config.json", fmt.Sprintf(`{"peers":[{"id":0,"address":%q},{"id":1,"address":"%s:%s"}]}`, at, c.host, port), 0o644)
			r, code := checked(t, dir, "Config.json")
			if code != exitFailed || len(r.Faults) != 1 || r.Faults[0].About != c.about {
				t.Errorf("it ends with %d and says %v, want one fault about the %s", code, r.Faults, c.about)
			}
		})
	}
	// Two names of both families are two addresses that are shared.
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(addresses(t, 1)[0])
	hosts := write(t, dir, "hosts", "127.0.0.1 both twin\n::1 both twin\n", 0o644)
	write(t, dir, "Config.json", fmt.Sprintf(`{"peers":[{"id":0,"address":"both:%s"},{"id":1,"address":"twin:%s"}]}`, port, port), 0o644)
	r, _ := checkedWith(t, hosts, dir, "Config.json")
	if len(r.Faults) != 1 {
		t.Errorf("it says %v, want one fault", r.Faults)
	}
}

// checkedWith is checked where the file hosts takes the place of /etc/hosts.
func checkedWith(t testing.TB, hosts, dir string, args ...string) (r report, text string) {
	t.Helper()
	return checkedApart(t, "-m", hosts, dir, args...)
}

// checkedAlone is checkedWith in a network of its own, where there is no other machine.
func checkedAlone(t testing.TB, hosts, dir string, args ...string) (r report, text string) {
	t.Helper()
	return checkedApart(t, "-mn", hosts, dir, args...)
}

func checkedApart(t testing.TB, namespaces, hosts, dir string, args ...string) (r report, text string) {
	t.Helper()
	out, err := apart(t, namespaces, hosts, dir, append([]string{"check", "--json"}, args...)...)
	if jsonErr := json.Unmarshal([]byte(out), &r); jsonErr != nil {
		t.Fatalf("%v, %v:\n%s", err, jsonErr, out)
	}
	return r, out
}

// apart runs the program in namespaces of its own, where the file hosts takes the place of
// /etc/hosts.
func apart(t testing.TB, namespaces, hosts, dir string, args ...string) (string, error) {
	t.Helper()
	if out, err := command(t, "unshare", namespaces, "true"); err != nil {
		t.Skipf("names of its own need namespaces, which root can have: %v %s", err, out)
	}
	script := "cd " + shell.Quote(dir) + ` && mount --bind "$0" /etc/hosts && { ip link set lo up 2>/dev/null; exec "$@"; }`
	return command(t, "unshare", append([]string{namespaces, "sh", "-c", script, hosts, program}, args...)...)
}

// Names mean what /etc/hosts says, as on a machine of its own.
func TestCheckLooksUpNamesAsServersDo(t *testing.T) {
	t.Parallel()
	at := addresses(t, 4)
	port := func(i int) string {
		_, p, _ := net.SplitHostPort(at[i])
		return p
	}
	dir := t.TempDir()
	hosts := write(t, dir, "hosts", "127.0.0.1 localhost four both\n::1 six both\n127.0.1.1 myname\n192.0.2.7 elsewhere\n", 0o644)
	config := func(entries ...string) string {
		return fmt.Sprintf(`{"cluster":"test","peers":[%s]}`, strings.Join(entries, ","))
	}
	six := "[::1]:" + port(0)
	for _, c := range []struct {
		name    string
		config  string
		listens string // the address of a server that runs; empty: none
		args    []string
		answers []string
		faults  []string // what is in each
	}{
		{"a name of IPv6 alone", config(`{"id":0,"address":"six:` + port(0) + `"}`), six, nil, []string{"yes, a server runs here"}, nil},
		{"the second address of a name", config(`{"id":0,"address":"both:` + port(1) + `"}`), "127.0.0.1:" + port(1), nil, []string{"yes, a server runs here"}, nil},
		{"the other address of a name", config(`{"id":0,"address":"both:` + port(0) + `"}`), six, nil, []string{"yes, a server runs here"}, nil},
		{"a name that is not known", config(`{"id":0,"address":"nobody.invalid:1"}`), "", nil, []string{"no: its name does not resolve"}, []string{"nobody.invalid"}},
		{"its own name is loopback", config(`{"id":0,"address":"myname:`+port(2)+`"}`, `{"id":1,"address":"elsewhere:1"}`), "", []string{"-id", "0"}, nil,
			[]string{`address "myname:` + port(2) + `" is 127.0.1.1 here, which is loopback, and the addresses of others are not`}},
		{"its own name is loopback, and it listens everywhere", config(`{"id":0,"address":"myname:`+port(2)+`","bind":"*:`+port(2)+`"}`, `{"id":1,"address":"elsewhere:1"}`), "", []string{"-id", "0"}, nil, nil},
		{"all are loopback", config(`{"id":0,"address":"myname:`+port(2)+`"}`, `{"id":1,"address":"four:`+port(3)+`"}`), "", []string{"-id", "0"}, nil, nil},
		{"one is written as loopback", config(`{"id":0,"address":"127.0.0.1:`+port(2)+`"}`, `{"id":1,"address":"elsewhere:1"}`), "", nil, nil,
			[]string{"which leads each machine to itself"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.listens != "" {
				theirs := t.TempDir()
				write(t, theirs, "Config.json", config(fmt.Sprintf(`{"id":0,"address":%q}`, c.listens)), 0o644)
				cfg := load(t, theirs)
				n, err := cluster.NewFromConfig(0, cfg)
				if err != nil {
					t.Skip("this machine has no IPv6 loopback:", err)
				}
				defer n.Close()
			}
			file := write(t, dir, "Config.json", c.config, 0o644)
			look := checkedWith
			if c.listens == "" {
				look = checkedAlone
			}
			r, text := look(t, hosts, dir, append([]string{filepath.Base(file), "--wait", "20s"}, c.args...)...)
			if len(r.Faults) != len(c.faults) {
				t.Fatalf("it finds %d faults, want %d:\n%s", len(r.Faults), len(c.faults), text)
			}
			for i, want := range c.faults {
				if !strings.Contains(r.Faults[i].Text, want) {
					t.Errorf("fault %d is %q, want %q in it", i, r.Faults[i].Text, want)
				}
			}
			for i, want := range c.answers {
				if got := r.Servers[i].Answers; got != want {
					t.Errorf("of server %d it says %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestCheckTellsWhatANameStandsFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hosts := write(t, dir, "hosts", "127.0.0.1 both\n::1 both\n", 0o644)
	write(t, dir, "Config.json", `{"peers":[{"id":0,"address":"both:1"},{"id":1,"address":"127.0.0.1:2"}]}`, 0o644)
	r, _ := checkedWith(t, hosts, dir, "Config.json")
	got := slices.Sorted(slices.Values(r.Servers[0].Resolved))
	if diff := cmp.Diff([]string{"127.0.0.1:1", "[::1]:1"}, got); diff != "" || r.Servers[1].Resolved != nil {
		t.Errorf("want -, got +:\n%s\nand of an address in numbers %v", diff, r.Servers[1].Resolved)
	}
}

// What is at the other address does not matter, be it nothing or another program.
func TestPingTriesEachAddressOfAName(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]func(testing.TB, int) (string, []string){"without keys": configured, "with keys": keyed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, listens := range []string{"127.0.0.1", "::1"} {
				dir, at := kind(t, 2)
				_, port, _ := net.SplitHostPort(at[1])
				text := read(t, filepath.Join(dir, "Config.json"))
				there := t.TempDir()
				write(t, there, "Config.json", strings.Replace(text, at[1], net.JoinHostPort(listens, port), 1), 0o644)
				if name == "with keys" {
					write(t, there, "1.key", read(t, filepath.Join(dir, "1.key")), 0o600)
				}
				cfg := load(t, there)
				n, err := cluster.NewFromConfig(1, cfg)
				if err != nil {
					t.Skip("this machine has no IPv6 loopback:", err)
				}
				defer n.Close()
				hosts := write(t, dir, "hosts", "127.0.0.1 both\n::1 both\n", 0o644)
				write(t, dir, "Config.json", strings.Replace(text, at[1], "both:"+port, 1), 0o644)
				if out, err := apart(t, "-m", hosts, dir, "ping", "Config.json", "-id", "0", "--to", "1", "-n", "2", "--interval", "1ms"); err != nil {
					t.Errorf("server 1 listens on %s: %v\n%s", listens, err, out)
				}
			}
		})
	}
}
