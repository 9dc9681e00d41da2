package hashicorp_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// long lets the tests that take minutes run whole, and not a selection.
var long = flag.Bool("long", false, "run all tests of hashicorp/raft that use a transport, three times, and the long scenarios")

// Module hashicorp/raft tests its transport, and whole clusters. Its tests make transports by name; in a copy of it, which
// is made here and never kept, that name is another, and the transports are over servers of ours. Nothing else of the
// tests is changed.
const (
	theirName = "NewInmemTransport"
	ourName   = "newTransport"
)

// theirFiles are those that make transports, or say what type they have.
var theirFiles = []string{"testing.go", "raft_test.go", "transport_test.go"}

// What is added to the copy: a name for the tests to call, and what is behind it. The latter is in a package of its own,
// since ours imports theirs.
const hookFile = `package raft

// NewTransport is set by the tests.
var NewTransport func(ServerAddress) (ServerAddress, LoopbackTransport)

func newTransport(addr ServerAddress) (ServerAddress, LoopbackTransport) { return NewTransport(addr) }
`

const hookTestFile = `package raft_test

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/loopback"
)

func init() { raft.NewTransport = loopback.New }
`

// quick is what is run without -long: all tests of transports, and of clusters these.
var quick = []string{
	"TestRaft_AfterShutdown", "TestRaft_TripleNode", "TestRaft_LeaderFail", "TestRaft_BehindFollower", "TestRaft_ApplyConcurrent",
	"TestRaft_JoinNode", "TestRaft_RemoveFollower", "TestRaft_SendSnapshotFollower", "TestRaft_VerifyLeader",
	"TestRaft_ReJoinFollower", "TestRaft_LeadershipTransfer", "TestRaft_PreVoteAvoidElectionWithPartition", "TestRaft_SnapshotRestore",
}

// tries is how often a test is run before it counts as failed, and again how much later it is run each time, after all others. The
// servers of these tests call an election after 50 ms without a heartbeat: while a machine is busy with something else they fail,
// those of hashicorp/raft's own transport too. How many needed another try is printed.
const (
	tries = 6
	again = 10 * time.Second
)

func TestTheTestsOfHashicorpRaftPassOnThisTransport(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("it builds another module with its tests, and without the race detector")
	}
	dir := patchedCopy(t)
	binary := filepath.Join(dir, "raft.test")
	if out, err := command(t, dir, "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the tests: %v\n%s", err, out)
	}
	rounds, pattern := 1, `^(TestTransport_.*|`+strings.Join(quick, "|")+`)$`
	if *long {
		rounds, pattern = 3, `^(TestTransport_|TestRaft_)`
	}
	list, err := command(t, dir, binary, "-test.list", pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) {
			started := time.Now()
			var r results
			r.runAll(t, dir, binary, strings.Fields(string(list)))
			t.Logf("%v, in %v", r, time.Since(started).Round(time.Second))
			r.check(t)
		})
	}
}

// command is a command that is killed when it takes much too long.
func command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return cmd
}

// patchedCopy is a copy of the module hashicorp/raft, at the version that this module requires, with our transport in the
// place of its own.
func patchedCopy(t *testing.T) string {
	t.Helper()
	out, err := command(t, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/hashicorp/raft").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.TrimSpace(string(out))
	dir := filepath.Join(t.TempDir(), "raft")
	if err := os.CopyFS(dir, os.DirFS(theirs)); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, name := range theirFiles {
		changed += patch(t, filepath.Join(dir, name))
	}
	loopback, err := os.ReadFile("internal/loopback/loopback.go")
	if err != nil {
		t.Fatal(err)
	}
	added := map[string]string{
		"go.work":              workspace(t),
		"new_transport.go":     hookFile,
		"set_test.go":          hookTestFile,
		"loopback/loopback.go": string(loopback),
	}
	for name, text := range added {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s: %d lines changed, and %d files added", filepath.Base(theirs), changed, len(added))
	return dir
}

// workspace is a go.work that joins the copy to this module and the root.
func workspace(t *testing.T) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("go.work")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(here, "../..")
	use := fmt.Sprintf("use (\n\t.\n\t%q\n\t%q\n)", here, root)
	work := regexp.MustCompile(`(?s)use \(.*?\)`).ReplaceAllLiteralString(string(text), use)
	return strings.ReplaceAll(work, "=> ../..", fmt.Sprintf("=> %q", root))
}

// patch lets a file make transports by our name, and know them as what all loopback transports are. It returns how many
// lines that changes.
func patch(t *testing.T, name string) (changed int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer(theirName+"(", ourName+"(", ".(*InmemTransport)", ".(LoopbackTransport)")
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if lines[i] = replace.Replace(line); lines[i] != line {
			changed++
		}
	}
	if changed == 0 {
		t.Fatalf("%s has no %s: hashicorp/raft makes its transports in another way now", name, theirName)
	}
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return changed
}

// results are the names of the tests that were run.
type results struct {
	passed, failed, skipped, again []string
}

func (r results) String() string {
	return fmt.Sprintf("of hashicorp/raft's tests %d ran on our transport: %d passed, of which %d not at the first try %q; %d failed %q; %d skip themselves %q",
		len(r.passed)+len(r.failed), len(r.passed), len(r.again), r.again, len(r.failed), r.failed, len(r.skipped), r.skipped)
}

// runAll runs tests, and those that fail again when all have been run.
func (r *results) runAll(t *testing.T, dir, binary string, names []string) {
	t.Helper()
	for try := range tries {
		time.Sleep(time.Duration(try) * again)
		var left []string
		for _, name := range names {
			out, err := r.run(t, dir, binary, name)
			switch {
			case err == nil && try > 0:
				r.again = append(r.again, name)
			case err == nil:
			case try < tries-1:
				left = append(left, name)
			default:
				r.failed = append(r.failed, name)
				const most = 20_000 // bytes
				t.Errorf("%s: %v\n%s", name, err, out[max(0, len(out)-most):])
			}
		}
		if names = left; len(names) == 0 {
			return
		}
	}
}

// run runs one test in a process of its own, so that what it leaves behind disturbs no other. It returns what that prints.
func (r *results) run(t *testing.T, dir, binary, name string) ([]byte, error) {
	t.Helper()
	out, err := command(t, dir, binary, "-test.v", "-test.run", "^"+name+"$", "-test.timeout", "4m").CombinedOutput()
	switch {
	case err != nil:
	case strings.Contains(string(out), "--- SKIP: "+name+" "):
		r.skipped = append(r.skipped, name)
	default:
		r.passed = append(r.passed, name)
	}
	return out, err
}

// check finds tests that are missing.
func (r results) check(t *testing.T) {
	t.Helper()
	want := len(quick)
	if *long {
		want = 60
	}
	count := map[bool]int{}
	for _, name := range r.passed {
		count[strings.HasPrefix(name, "TestTransport_")]++
	}
	if got := count[false]; got < want {
		t.Errorf("%d tests of clusters have passed, want at least %d", got, want)
	}
	if got := count[true]; got < 6 {
		t.Errorf("%d tests of transports have passed, want all 6", got)
	}
}
