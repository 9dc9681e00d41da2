package sockets

import (
	"strings"
	"testing"
)

func TestTheTransportIsTheOneThatWasChosen(t *testing.T) {
	for _, c := range []struct{ configured, environment, want string }{
		{"", "", Default},
		{Go, "", Go},
		{"", Go, Go},
		{Libzmq, Go, Go},
		{"nonsense", Go, Go}, // a configuration that was checked has none
		{Libzmq, "", Libzmq},
		{"", Libzmq, Libzmq},
		{Go, Libzmq, Libzmq},
	} {
		t.Run(c.configured+" "+c.environment, func(t *testing.T) {
			t.Setenv(Variable, c.environment)
			got, err := Choose(c.configured, "Config.json")
			if c.want == Libzmq && libzmq == nil {
				if err == nil {
					t.Errorf("got %s in a build without libzmq", got.Name)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != c.want || got.Network == nil {
				t.Errorf("got %q (%T), want %q", got.Name, got.Network, c.want)
			}
		})
	}
}

func TestWhatCannotBeChosenIsToldWithItsPlaceAndAWayOut(t *testing.T) {
	for _, c := range []struct {
		name, configured, environment string
		without                       bool // only in a build without libzmq
		want                          []string
	}{
		{"unknown in the file", "zeromq", "", false, []string{"Config.json: ", `transport "zeromq"`, `want "go" or "libzmq"`}},
		{"unknown in the environment", Go, "Go", false, []string{"the environment variable CLUSTER_TRANSPORT: ", `transport "Go"`, `want "go" or "libzmq"`}},
		{"not built, in the file", Libzmq, "", true, []string{"Config.json: ", `transport "libzmq"`, "without libzmq", `say "go"`}},
		{"not built, in the environment", "", Libzmq, true, []string{"the environment variable CLUSTER_TRANSPORT: ", "without libzmq", `say "go"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.without && libzmq != nil {
				t.Skip("this build has libzmq")
			}
			t.Setenv(Variable, c.environment)
			got, err := Choose(c.configured, "Config.json")
			if err == nil {
				t.Fatalf("got %s", got.Name)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}
