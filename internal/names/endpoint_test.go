package names

import "testing"

func TestAnEndpointIsSplit(t *testing.T) {
	for _, c := range []struct {
		endpoint, host string
		port           uint16
		ok, isName     bool
	}{
		{"tcp://127.0.0.1:8081", "127.0.0.1", 8081, true, false},
		{"tcp://[::1]:1", "::1", 1, true, false},
		{"tcp://[fe80::1%eth0]:1", "fe80::1%eth0", 1, true, false},
		{"tcp://*:65535", "*", 65535, true, false},
		{"tcp://node2.example.net:7003", "node2.example.net", 7003, true, true},
		{"tcp://eth0:7003", "eth0", 7003, true, true},
		{"tcp://host:65536", "", 0, false, false},
		{"tcp://host", "", 0, false, false},
		{"ipc:///run/x", "", 0, false, false},
		{"mem://a", "", 0, false, false},
	} {
		t.Run(c.endpoint, func(t *testing.T) {
			host, port, ok := Split(c.endpoint)
			if ok != c.ok || ok && (host != c.host || port != c.port) {
				t.Errorf("%q, %d, %v; want %q, %d, %v", host, port, ok, c.host, c.port, c.ok)
			}
			if got := IsName(host); ok && got != c.isName {
				t.Errorf("it is a name: %v, want %v", got, c.isName)
			}
		})
	}
}

func TestAnOwnAddressOnLoopbackAloneIsOneThatOthersCannotReach(t *testing.T) {
	for _, c := range []struct {
		name       string
		own, other []string
		want       bool
	}{
		{"as Debian names its machines", []string{"127.0.1.1"}, []string{"192.0.2.2"}, true},
		{"IPv6", []string{"::1"}, []string{"2001:db8::1"}, true},
		{"all of a cluster is here", []string{"127.0.0.1"}, []string{"127.0.0.1"}, false},
		{"the other may be here, too", []string{"127.0.0.1"}, []string{"192.0.2.2", "127.0.1.1"}, false},
		{"one address of its own can be reached", []string{"127.0.1.1", "192.0.2.1"}, []string{"192.0.2.2"}, false},
		{"the other's is not known", []string{"127.0.1.1"}, nil, false},
		{"its own is not known", nil, []string{"192.0.2.2"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := OnlyLoopback(addrs(c.own...), addrs(c.other...)); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
