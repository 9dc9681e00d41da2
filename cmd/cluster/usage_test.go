package main

import (
	"strings"
	"testing"
)

func TestWrongUsageEndsWith2(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "which command?"},
		{"frobnicate", `there is no command "frobnicate"`},
		{"--frobnicate", "-frobnicate"},
		{"check", "CONFIG is missing"},
		{"check Config.json --wait 0s", "want more than 0"},
		{"check Config.json --wait soon", "soon"},
		{"check Config.json --key-file 0.key", "--key-file needs -id"},
		{"check Config.json -id", "flag needs an argument"},
		{"listen Config.json", "-id is missing"},
		{"listen Config.json -id 0 --count 0", "want at least 1"},
		{"listen Config.json -id 0 --timeout -1s", "want more than 0"},
		{"send Config.json -id 0 hello", "--to is missing"},
		{"send Config.json -id 0 --to some hello", `--to "some"`},
		{"send Config.json -id 0 --to -1 hello", `--to "-1"`},
		{"send Config.json -id 0 --to 1", "TEXT is missing"},
		{"send Config.json -id 0 --to 1 --timeout 0 hello", "timeout"},
		{"ping Config.json -id 0", "--to is missing"},
		{"ping Config.json -id 0 --to 0", "want another server"},
		{"ping Config.json -id 0 --to 1 -n 0", "want at least 1"},
		{"ping Config.json -id 0 --to 1 --wait 0s", "want more than 0"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := call(t, dir, "", strings.Fields(c.args)...).want(t, exitUsage)
			if got.out != "" || !strings.HasPrefix(got.err, "cluster: ") || !strings.Contains(got.err, c.want) {
				t.Errorf("standard output: %q, standard error: %q, want %q in that", got.out, got.err, c.want)
			}
		})
	}
}

func TestEachCommandHasHelpWithExamples(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"keygen", "check", "ping", "listen", "send"} {
		got := call(t, t.TempDir(), "", command, "--help").want(t, 0, "cluster "+command, "Examples:", "--help")
		if !strings.Contains(got.out, "Examples:") {
			t.Errorf("the help of %s is not on standard output", command)
		}
		call(t, t.TempDir(), "", "--help").want(t, 0, command+" ")
	}
	call(t, t.TempDir(), "", "--version").want(t, 0, "cluster version ", "wire format 1")
}
