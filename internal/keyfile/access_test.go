//go:build unix

package keyfile

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abhishekg16/cluster/internal/curve"
)

func TestAFileThatWasMountedForTheProcessIsAccepted(t *testing.T) {
	const self, other, mine, theirs = 1000, 1001, 2000, 3000
	for _, c := range []struct {
		name         string
		user         int
		owner, group int
		mode         fs.FileMode
		want         bool
		advice       string // a part of it, where it is not accepted
	}{
		{"root's, for a group of the process", self, 0, mine, 0o440, true, ""},
		{"the same, and root may write it", self, 0, mine, 0o640, true, ""},
		{"for the effective group", self, 0, self, 0o440, true, ""},
		{"its own, which it cannot write", self, self, mine, 0o440, true, ""},
		{"root's, and the process is root's", 0, 0, mine, 0o440, true, ""},
		{"its own, which it can write", self, self, mine, 0o640, false, "run chmod 600 F;"},
		{"root's, which root's process can write", 0, 0, mine, 0o640, false, "run chmod 600 F;"},
		{"for a group of others", self, 0, theirs, 0o440, false, "mode 0440 and a group of this process (1000 2000)"},
		{"for everybody", self, 0, mine, 0o444, false, "make user 1000 its owner and run chmod 600 F"},
		{"the group can write it", self, 0, mine, 0o460, false, "it is root's"},
		{"others can write it", self, 0, mine, 0o442, false, "it is root's"},
		{"another user's", self, other, mine, 0o440, false, "make user 1000, whose process this is, its owner"},
		{"another user's, and the process is root's", 0, other, mine, 0o440, false, "run chmod 600 F;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := access{user: c.user, groups: []int{mine, self}, owner: c.owner, group: c.group, mode: c.mode}
			if got := a.permits(); got != c.want {
				t.Errorf("accepted: %v, want %v", got, c.want)
			}
			if got := a.advice("F"); !strings.Contains(got, c.advice) {
				t.Errorf("the advice is %q, want %q in it", got, c.advice)
			}
		})
	}
}

// reader is the environment variable that makes the test binary read the file it names.
const reader = "CLUSTER_TEST_KEY"

func TestMain(m *testing.M) {
	if file := os.Getenv(reader); file != "" {
		if _, err := Read(file); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAProcessReadsWhatRootMountedForItsGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file for another user's process")
	}
	const user, group, others = 54321, 54322, 54323
	dir, err := os.MkdirTemp("", "mounted")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "reader")
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	_, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "0.key")
	if err := os.WriteFile(file, Text(secret), 0o440); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		group int
		mode  fs.FileMode
		want  string // in the error; none if empty
	}{
		{"as mounted", group, 0o440, ""},
		{"everybody can read it", group, 0o444, "0444"},
		{"of another group", others, 0o444, "a group of this process (54321 54322)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Chown(file, 0, c.group); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env, cmd.Dir = []string{reader + "=" + file}, dir
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, Groups: []uint32{group}}}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := string(out); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
