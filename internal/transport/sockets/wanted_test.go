package sockets

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Who wants libzmq in a build that would not have it gets a message of the compiler that says so.
func TestTheCompilerSaysWhyABuildThatWantsLibzmqHasNone(t *testing.T) {
	for _, c := range []struct{ name, tags, want string }{
		{"wanted, and cgo is off", "libzmq", "this build has no libzmq, which needs CGO_ENABLED=1, a C compiler"},
		{"wanted, and not wanted", "libzmq,nozmq", "no -tags nozmq"},
		{"not wanted", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", c.tags, ".")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			if failed := err != nil; failed != (c.want != "") || !strings.Contains(string(out), c.want) {
				t.Errorf("got %v and %q, want %q", err, out, c.want)
			}
		})
	}
}
