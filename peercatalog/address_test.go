package peercatalog_test

import (
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/peercatalog"
)

func TestAddressesHaveANormalForm(t *testing.T) {
	long := strings.Repeat("a", 106)
	for address, want := range map[string]string{
		"127.0.0.1:8081":         "tcp://127.0.0.1:8081",
		"localhost:1":            "tcp://localhost:1",
		"LocalHost:65535":        "tcp://localhost:65535",
		"tcp://a_b-c.example:80": "tcp://a_b-c.example:80",
		"TCP://a:80":             "tcp://a:80",
		"a.example.:80":          "tcp://a.example.:80",
		"a:0080":                 "tcp://a:80",
		"1a:80":                  "tcp://1a:80",
		"[::1]:8081":             "tcp://[::1]:8081",
		"tcp://[0:0::1]:8081":    "tcp://[::1]:8081",
		"[FE80::1%eth0]:8081":    "tcp://[fe80::1%eth0]:8081",
		"ipc:///tmp/a":           "ipc:///tmp/a",
		"ipc:///tmp/./b//a b":    "ipc:///tmp/b/a b",
		"ipc://../a":             "ipc://../a",
		"ipc://@name":            "ipc://@name",
		"ipc:///" + long:         "ipc:///" + long,
		"mem://a":                "mem://a",
		"mem://A/b:c":            "mem://A/b:c",
	} {
		p := peercatalog.Peer{Address: address}
		if err := p.Validate(); err != nil {
			t.Errorf("%q: %v", address, err)
		}
		if got := p.DialEndpoint(); got != want {
			t.Errorf("%q is dialled as %q, want %q", address, got, want)
		}
		if got := p.BindEndpoint(); got != want {
			t.Errorf("%q is bound as %q, want %q", address, got, want)
		}
	}
}

func TestBindSaysWhereToListen(t *testing.T) {
	for _, test := range []struct{ address, bind, want string }{
		{"a:1", "*:8081", "tcp://*:8081"},
		{"a:1", "tcp://*:8081", "tcp://*:8081"},
		{"a:1", "0.0.0.0:8081", "tcp://0.0.0.0:8081"},
		{"a:1", "[::]:8081", "tcp://[::]:8081"},
		{"a:1", "eth0:8081", "tcp://eth0:8081"},
		{"a:1", "localhost:8081", "tcp://localhost:8081"},
		{"ipc:///a", "ipc:///b", "ipc:///b"},
		{"mem://a", "mem://b", "mem://b"},
	} {
		p := peercatalog.Peer{Address: test.address, Bind: test.bind}
		if err := p.Validate(); err != nil {
			t.Errorf("%q: %v", test.bind, err)
		}
		if got := p.BindEndpoint(); got != test.want {
			t.Errorf("%q is bound as %q, want %q", test.bind, got, test.want)
		}
	}
}

func TestUnusableAddressesAreExplained(t *testing.T) {
	const want = `: want host:port, for example 127.0.0.1:8081`
	for address, message := range map[string]string{
		"":                                   `address is missing` + want,
		"localhost":                          `address "localhost": no port` + want,
		"tcp://localhost":                    `address "tcp://localhost": no port` + want,
		"localhost:":                         `address "localhost:": no port` + want,
		":8081":                              `address ":8081": no host` + want,
		"tcp://":                             `address "tcp://": no host` + want,
		"a:0":                                `address "a:0": the port 0 is not from 1 to 65535` + want,
		"a:65536":                            `address "a:65536": the port 65536 is not from 1 to 65535` + want,
		"a:http":                             `address "a:http": the port "http" is not a number` + want,
		"a:-1":                               `address "a:-1": the port "-1" is not a number` + want,
		"a:*":                                `address "a:*": the port "*" is not a number` + want,
		"a:１":                                `address "a:１": the port "１" is not a number` + want,
		" a:1":                               `address " a:1": a space` + want,
		"a:1 ":                               `address "a:1 ": a space` + want,
		"a:1\x00":                            `address "a:1\x00": a control character` + want,
		"u@a:1":                              `address "u@a:1": user information (before the @) is not possible` + want,
		"tcp://u:p@a:1":                      `address "tcp://u:p@a:1": user information (before the @) is not possible` + want,
		"a:1/":                               `address "a:1/": a path (from the / on) is not possible` + want,
		"a:1/x?y":                            `address "a:1/x?y": a path (from the / on) is not possible` + want,
		"a:1?x":                              `address "a:1?x": a query (from the ? on) is not possible` + want,
		"a:1#x":                              `address "a:1#x": a fragment (from the # on) is not possible` + want,
		"a:b:1":                              `address "a:b:1": more than one colon` + want,
		"::1:8081":                           `address "::1:8081": an IPv6 address goes in brackets, as in [::1]:8081` + want,
		"fe80::1":                            `address "fe80::1": an IPv6 address goes in brackets, as in [::1]:8081` + want,
		"1:2:3:4:5:6:7:8:80":                 `address "1:2:3:4:5:6:7:8:80": an IPv6 address goes in brackets, as in [::1]:8081` + want,
		"[::1]":                              `address "[::1]": no port` + want,
		"[::1]:":                             `address "[::1]:": no port` + want,
		"[::1]8081":                          `address "[::1]8081": "8081" after the closing bracket` + want,
		"[::1:8081":                          `address "[::1:8081": no closing bracket` + want,
		"[127.0.0.1]:1":                      `address "[127.0.0.1]:1": "127.0.0.1" is no IPv6 address, and only those go in brackets` + want,
		"[a]:1":                              `address "[a]:1": "a" is no IPv6 address, and only those go in brackets` + want,
		"*:8081":                             `address "*:8081": * is where to listen, not where to be reached; it goes in "bind"` + want,
		"0.0.0.0:1":                          `address "0.0.0.0:1": 0.0.0.0 is where to listen, not where to be reached; it goes in "bind"` + want,
		"[::]:1":                             `address "[::]:1": :: is where to listen, not where to be reached; it goes in "bind"` + want,
		"127.0.0.256:1":                      `address "127.0.0.256:1": "127.0.0.256" is no IPv4 address` + want,
		"127.0.1:1":                          `address "127.0.1:1": "127.0.1" is no IPv4 address` + want,
		"8080:1":                             `address "8080:1": "8080" is no IPv4 address` + want,
		"a..b:1":                             `address "a..b:1": an empty part in the host name` + want,
		"a;b:1":                              `address "a;b:1": the character ';' in the host name` + want,
		"bücher.example:1":                   `address "bücher.example:1": the character 'ü' in the host name` + want,
		"http://a:1":                         `address "http://a:1": unknown scheme "http": want tcp, ipc or mem`,
		"://a:1":                             `address "://a:1": unknown scheme "": want tcp, ipc or mem`,
		"ipc://":                             `address "ipc://": no path: want ipc://path, for example ipc:///run/app/0.sock`,
		"ipc://*":                            `address "ipc://*": a path that ZeroMQ makes up cannot be reached: want ipc://path, for example ipc:///run/app/0.sock`,
		"ipc:///tmp/":                        `address "ipc:///tmp/": the path is that of a directory: want ipc://path, for example ipc:///run/app/0.sock`,
		"ipc:///tmp/.":                       `address "ipc:///tmp/.": the path is that of a directory: want ipc://path, for example ipc:///run/app/0.sock`,
		"ipc:///tmp/a ":                      `address "ipc:///tmp/a ": a space at an end of the path: want ipc://path, for example ipc:///run/app/0.sock`,
		"ipc:///tmp/a\n":                     `address "ipc:///tmp/a\n": a control character` + want,
		"mem://":                             `address "mem://": no name: want mem://name`,
		"mem://a b":                          `address "mem://a b": a space in the name: want mem://name`,
		strings.Repeat("a", 64) + ":1":       `address "` + strings.Repeat("a", 64) + `:1": a part of 64 bytes in the host name, over 63` + want,
		"ipc:///" + strings.Repeat("a", 107): `address "ipc:///` + strings.Repeat("a", 107) + `": a path of 108 bytes: want at most 107, for example in /run or /tmp`,
		strings.Repeat("a.", 127) + ":1":     `address "` + strings.Repeat("a.", 60) + `": a host name of 254 bytes, over 253` + want,
	} {
		p := peercatalog.Peer{Address: address}
		if err := p.Validate(); err == nil || err.Error() != message {
			t.Errorf("got %v\nwant %s", err, message)
		}
		if got := p.DialEndpoint(); got != "" {
			t.Errorf("%q has the endpoint %q, want none", address, got)
		}
	}
}

func TestUnusableBindsAreExplained(t *testing.T) {
	const want = `: want host:port or *:port, for example *:8081`
	for bind, message := range map[string]string{
		"*":        `bind "*": no port` + want,
		"*:0":      `bind "*:0": the port 0 is not from 1 to 65535` + want,
		"*:*":      `bind "*:*": the port "*" is not a number` + want,
		":8081":    `bind ":8081": no host` + want,
		"*a:1":     `bind "*a:1": the character '*' in the host name` + want,
		"::1:1":    `bind "::1:1": an IPv6 address goes in brackets, as in [::1]:8081` + want,
		"udp://a":  `bind "udp://a": unknown scheme "udp": want tcp, ipc or mem`,
		"ipc:///a": `bind "ipc:///a": the scheme ipc is not that of the address: want tcp`,
	} {
		p := peercatalog.Peer{Address: "a:1", Bind: bind}
		if err := p.Validate(); err == nil || err.Error() != message {
			t.Errorf("got %v\nwant %s", err, message)
		}
	}
	if got := (peercatalog.Peer{Address: "a:1", Bind: "*"}).BindEndpoint(); got != "" {
		t.Errorf("an unusable bind has the endpoint %q, want none", got)
	}
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	err := peercatalog.Peer{ID: 65536, Address: "a", Bind: "b"}.Validate()
	const want = "id 65536 is out of range: want 0 to 65535\n" +
		"address \"a\": no port: want host:port, for example 127.0.0.1:8081\n" +
		"bind \"b\": no port: want host:port or *:port, for example *:8081"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, id := range []int{0, peercatalog.MaxID} {
		if err := (peercatalog.Peer{ID: id, Address: "a:1"}).Validate(); err != nil {
			t.Errorf("id %d: %v", id, err)
		}
	}
}

// FuzzAddress holds that a normal form is its own normal form, on one line.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"a:1", "[::1]:1", "ipc:///tmp/./a", "mem://a", "tcp://*:1", "::1:8", "1.2.3.4:05"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		p := peercatalog.Peer{Address: address, Bind: address}
		for _, e := range []string{p.DialEndpoint(), p.BindEndpoint()} {
			if e == "" {
				continue
			}
			again := peercatalog.Peer{Address: e, Bind: e}
			if got := again.BindEndpoint(); got != e {
				t.Errorf("%q becomes %q, and that %q", address, e, got)
			}
		}
		if err := p.Validate(); err == nil {
			if p.DialEndpoint() == "" || p.BindEndpoint() == "" {
				t.Errorf("%q is valid without an endpoint", address)
			}
		} else if n := strings.Count(err.Error(), "\n"); n > 1 {
			t.Errorf("%q: %d lines for two faults: %v", address, n+1, err)
		}
	})
}
