package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// printedCommands are the commands among the steps that were printed.
func printedCommands(text string) (commands []string) {
	for l := range strings.Lines(text) {
		if c, ok := strings.CutPrefix(l, commandIndent); ok {
			commands = append(commands, strings.TrimSuffix(c, "\n"))
		}
	}
	return commands
}

// carryOut runs commands as they were printed, in the directory dir, where cluster is this
// program. It returns what they print.
func carryOut(t testing.TB, dir string, env []string, commands ...string) string {
	t.Helper()
	var all strings.Builder
	for _, c := range commands {
		sh := exec.CommandContext(t.Context(), "sh", "-c", c)
		sh.Dir = dir
		sh.Env = append(append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH")), env...)
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", c, err, out)
		}
		all.Write(out)
	}
	return all.String()
}

// awkward is a name of a directory that a shell takes apart unless it is quoted.
const awkward = `it's "a" $(dir); *`

// awkwardly moves the configuration of a directory and its keys into one of that name in it.
func awkwardly(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, awkward), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(dir, awkward, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// otherMachines stands in for scp and ssh: the other machines are directories, each named
// after its host.
func otherMachines(t testing.TB, dir string, hosts ...string) (root string, env []string) {
	t.Helper()
	root, bin := t.TempDir(), t.TempDir()
	for _, h := range hosts {
		if err := os.MkdirAll(filepath.Join(root, h, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, bin, "scp", `#!/bin/sh
test "$#" = 3 && test "$1" = -p || exit 64
host=${3%%:/*} path=${3#"${3%%:/*}":}
host=${host#[} host=${host%]}
exec cp -p "$2" "$HOSTS/$host$path"
`, 0o755)
	write(t, bin, "ssh", `#!/bin/sh
host=$1
eval "set -- $2"
test "$1 $2 $3 $4" = "mkdir -p -m 700" || exit 64
exec mkdir -p -m 700 "$HOSTS/$host$5"
`, 0o755)
	return root, []string{"HOSTS=" + root, "PATH=" + bin + ":" + filepath.Dir(program) + ":" + os.Getenv("PATH")}
}

// Keys go to their own servers and nowhere else, and a new one takes the place of the old.
func TestThePrintedStepsBringTheKeysToTheirServers(t *testing.T) {
	t.Parallel()
	for name, keyDir := range map[string]string{"beside the configuration": "", "in a directory": "my keys/all"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, awkward)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "Config.json", `{"keyDir": "`+keyDir+`", "peers": [
	{"id": 0, "address": "`+addresses(t, 1)[0]+`"},
	{"id": 1, "address": "one.invalid:8081"},
	{"id": 2, "address": "[2001:db8::2]:8081"},
	{"id": 3, "address": "one.invalid:8082"}
]}`, 0o644)
			config := filepath.Join(awkward, "Config.json")
			hosts, env := otherMachines(t, dir, "one.invalid", "2001:db8::2")
			there := func(host string) string { return filepath.Join(hosts, host, dir) }
			check := func(dir string, keys ...string) {
				t.Helper()
				if diff := cmp.Diff(append([]string{}, keys...), keyFiles(t, dir)); diff != "" {
					t.Errorf("the keys in %s (want -, got +):\n%s", dir, diff)
				}
			}

			got := call(t, top, "", "keygen", config).want(t, 0)
			carryOut(t, top, env, printedCommands(got.out)...)
			check(dir, "0.key")
			check(there("one.invalid"), "1.key", "3.key")
			check(there("2001:db8::2"), "2.key")
			if ours := read(t, filepath.Join(dir, "Config.json")); read(t, filepath.Join(there("2001:db8::2"), "Config.json")) != ours {
				t.Error("the other machine has another configuration")
			}

			got = call(t, top, "", "keygen", config, "-id", "1", "--rotate").want(t, 0)
			out := carryOut(t, top, env, printedCommands(got.out)...)
			carryOut(t, top, env, printedCommands(out)...)
			check(dir, "0.key")
			check(there("one.invalid"), "1.key", "3.key")
			for _, at := range []string{dir, there("one.invalid"), there("2001:db8::2")} {
				p := load(t, at).Peers[1]
				if p.PreviousPublicKey != "" {
					t.Errorf("in %s the old key is still there", at)
				}
				if public, err := existingKey(filepath.Join(there("one.invalid"), keyDir, "1.key")); err != nil || public != p.PublicKey {
					t.Errorf("server 1 has the key of %q, %v, want %q", public, err, p.PublicKey)
				}
			}
		})
	}
}

// keyFiles are the names of the files below dir that have secret keys in them, which all
// must be their owner's alone.
func keyFiles(t testing.TB, dir string) (names []string) {
	t.Helper()
	for path, text := range snapshot(t, dir) {
		if strings.Contains(text, "secret key of server") {
			names = append(names, filepath.Base(path))
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v, want mode 0600", path, info.Mode(), err)
			}
		}
	}
	slices.Sort(names)
	return names
}

// What is printed for a server without a key, with an unfinished change, and with a key
// file that is of no use.
func TestTheCommandsInErrorsAreTheWayOut(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	awkwardly(t, dir)
	config := filepath.Join(awkward, "Config.json")
	wayOut := func(args ...string) {
		t.Helper()
		got := call(t, dir, "", args...).want(t, 1)
		commands := printedCommands(got.err)
		if len(commands) != 1 {
			t.Fatalf("want one command in:\n%s", got.err)
		}
		carryOut(t, dir, nil, commands...)
		call(t, dir, "", args...).want(t, 0)
	}
	write(t, filepath.Join(dir, awkward), "1.key", "nonsense\n", 0o600)
	wayOut("keygen", config)
	call(t, dir, "", "keygen", config, "-id", "1", "--rotate").want(t, 0)
	if err := os.Rename(filepath.Join(dir, awkward, "1.key.new"), filepath.Join(dir, awkward, "1.key")); err != nil {
		t.Fatal(err)
	}
	wayOut("keygen", config, "-id", "1", "--rotate")
	write(t, dir, "plain.json", `{"peers":[{"id":0,"address":"127.0.0.1:1"}]}`, 0o644)
	wayOut("keygen", "plain.json", "-id", "0", "--rotate")
}

func TestOldKeysAreNotDroppedWhileAServerHasThem(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 2)
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--drop-previous").want(t, 0, "nothing to do")
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 0)
	before := snapshot(t, dir)
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--drop-previous").want(t, 1, "still has its old key")
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Errorf("something has changed (before -, now +):\n%s", diff)
	}
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--drop-previous", "--force").want(t, 0)
	if p := load(t, dir).Peers[1]; p.PreviousPublicKey != "" {
		t.Error("the old key is still there")
	}
}

func TestWhatCheckSaysOfAKeyThatOthersCanReadHelps(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 2)
	if err := os.Chmod(filepath.Join(dir, "1.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := call(t, dir, "", "check", "Config.json").want(t, 1)
	advice := regexp.MustCompile(`run (chmod 600 [^ ;\n]+)`).FindStringSubmatch(got.out)
	if advice == nil {
		t.Fatalf("no command in:\n%s", got.out)
	}
	carryOut(t, dir, nil, advice[1])
	call(t, dir, "", "check", "Config.json").want(t, 0, "no faults")
}
