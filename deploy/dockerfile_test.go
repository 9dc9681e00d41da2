package deploy

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// top is the top of the repository, which is the context of the images.
const top = ".."

var dockerfiles = []struct {
	file   string
	libzmq bool
}{
	{"Dockerfile", false},
	{"Dockerfile.libzmq", true},
}

// stages reads a file as docker build does, whose warnings are faults here.
func stages(t *testing.T, file string) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, w := range tree.Warnings {
		t.Errorf("%s: %s", file, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("%s:%v: %s: %s", file, at, rule, message)
	}})
	found, _, err := instructions.Parse(tree.AST, lint)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(found) != 2 {
		t.Fatalf("%s has %d stages, want one that builds, and one that runs", file, len(found))
	}
	return found
}

// all are the instructions of a kind in a stage.
func all[I instructions.Command](s instructions.Stage) (found []I) {
	for _, c := range s.Commands {
		if i, ok := c.(I); ok {
			found = append(found, i)
		}
	}
	return found
}

func TestTheImagesHaveTheProgramAndDoNotRunAsRoot(t *testing.T) {
	port := regexp.MustCompile(`:(\d+)"`).FindStringSubmatch(read(t, "kubernetes/Config.json"))[1]
	for _, d := range dockerfiles {
		t.Run(d.file, func(t *testing.T) {
			s := stages(t, d.file)
			last := s[1]
			if d.libzmq == (last.BaseName == "scratch") {
				t.Errorf("it runs in %q", last.BaseName)
			}
			copies := all[*instructions.CopyCommand](last)
			if len(copies) != 1 || copies[0].From != s[0].Name || !slices.Equal(copies[0].SourcePaths, []string{"/server"}) {
				t.Errorf("it copies %+v from the stage %q", copies, s[0].Name)
			}
			users := all[*instructions.UserCommand](last)
			if len(users) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(users[0].User) {
				t.Errorf("it runs as %+v, want one user and group that are numbers, for runAsNonRoot, and not root's", users)
			}
			if e := all[*instructions.ExposeCommand](last); len(e) != 1 || !slices.Equal(e[0].Ports, []string{port}) {
				t.Errorf("it exposes %+v, and the servers listen on %s", e, port)
			}
			if e := all[*instructions.EntrypointCommand](last); len(e) != 1 || e[0].PrependShell || !slices.Equal(e[0].CmdLine, []string{"/server"}) {
				t.Errorf("it starts %+v: want the program itself, which signals reach", e)
			}
			installed := ""
			for _, r := range all[*instructions.RunCommand](last) {
				installed += strings.Join(r.CmdLine, " ")
			}
			if d.libzmq != strings.Contains(installed, "libzmq5") {
				t.Errorf("it installs %q", installed)
			}
		})
	}
}

// The oldest Go that go.mod allows must not be newer than that of the images.
func TestTheImagesBuildWithASupportedGo(t *testing.T) {
	var major, minor, wantMinor int
	if _, err := fmt.Sscanf(regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, filepath.Join(top, "go.mod")))[1], "%d.%d", &major, &wantMinor); err != nil {
		t.Fatal(err)
	}
	for _, d := range dockerfiles {
		base := stages(t, d.file)[0].BaseName
		if _, err := fmt.Sscanf(base, "golang:%d.%d", &major, &minor); err != nil || major != 1 || minor < wantMinor {
			t.Errorf("%s builds with %q, and go.mod wants 1.%d: %v", d.file, base, wantMinor, err)
		}
	}
}

// What the first stage of each file runs to build makes the program that its comment promises.
func TestTheCommandsOfTheDockerfilesBuildTheProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the images are for Linux")
	}
	for _, d := range dockerfiles {
		t.Run(d.file, func(t *testing.T) {
			if d.libzmq && exec.Command("pkg-config", "--exists", "libzmq").Run() != nil {
				t.Skip("libzmq is not installed here")
			}
			first := stages(t, d.file)[0]
			runs := all[*instructions.RunCommand](first)
			build := strings.Join(runs[len(runs)-1].CmdLine, " ")
			program := filepath.Join(t.TempDir(), "server")
			if !strings.Contains(build, "-o /server ") {
				t.Fatalf("its last command is %q", build)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(build, "-o /server ", "-o "+program+" ", 1))
			cmd.Dir, cmd.Env = top, append(os.Environ(), "GOWORK=")
			for _, a := range all[*instructions.ArgCommand](first) {
				cmd.Env = append(cmd.Env, a.Args[0].Key+"="+*a.Args[0].Value)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", build, err, out)
			}
			file, err := elf.Open(program)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			libraries, err := file.ImportedLibraries()
			if err != nil {
				t.Fatal(err)
			}
			zmq := slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(l, "libzmq.so.5") })
			if !d.libzmq && len(libraries) > 0 || d.libzmq && !zmq {
				t.Errorf("it needs the libraries %q", libraries)
			}
			version, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
			want := "transport go"
			if d.libzmq {
				want = "transport libzmq"
			}
			if err != nil || !strings.Contains(string(version), want) {
				t.Errorf("it says %q (%v), want %q in that", version, err, want)
			}
		})
	}
}

// Where there is an engine, docker builds both images.
func TestDockerBuildsTheImages(t *testing.T) {
	if testing.Short() {
		t.Skip("it fetches images")
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "info").CombinedOutput(); err != nil {
		t.Skipf("there is no docker engine here: %v: %s", err, lastLine(out))
	}
	for _, d := range dockerfiles {
		t.Run(d.file, func(t *testing.T) {
			tag := "cluster-deploy-test:" + strings.ToLower(d.file)
			if out, err := exec.CommandContext(t.Context(), "docker", "build", "-f", d.file, "-t", tag, top).CombinedOutput(); err != nil {
				t.Fatalf("docker build: %v\n%s", err, out)
			}
			out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", tag, "version").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "cluster version") {
				t.Errorf("it says %q: %v", out, err)
			}
		})
	}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
