// Package goproxy lets tests do what users of the modules of this repository do: fetch them, at
// a version, and build. It makes a folder of the working tree that the go command takes for a
// module proxy (https://go.dev/ref/mod#goproxy-protocol).
package goproxy

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Root is the path of the module at the top of the repository.
const Root = "github.com/abhishekg16/cluster"

// A Proxy is a folder with all modules of the repository, each at the same version.
type Proxy struct {
	Version string   // that the nested modules require of the root
	Nested  []string // the directories of the modules below the root, from the top of the repository

	top, dir, cache string
}

// New makes a proxy of the working tree at top. It is gone when the test ends.
func New(t testing.TB, top string) *Proxy {
	t.Helper()
	p := &Proxy{top: top, dir: t.TempDir(), cache: t.TempDir()}
	files, err := sources(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if dir := path.Dir(f); path.Base(f) == "go.mod" && dir != "." {
			p.Nested = append(p.Nested, dir)
		}
	}
	for _, dir := range p.Nested {
		v := p.required(t, dir)
		if p.Version != "" && v != p.Version {
			t.Fatalf("%s/go.mod requires %s of the root, and %s/go.mod requires %s: want one version", dir, v, p.Nested[0], p.Version)
		}
		p.Version = v
	}
	for _, dir := range append([]string{"."}, p.Nested...) {
		if err := p.add(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// sources are the files of the repository, but for those that Git is told to ignore at its top.
func sources(top string) (files []string, err error) {
	err = fs.WalkDir(os.DirFS(top), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case d.Type().IsRegular() && name != ".git": // of a worktree it is a file
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(Root) + ` (v\S+)$`)

// required is the version of the root that the module in dir requires.
func (p *Proxy) required(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.top, dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	m := requirement.FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s/go.mod does not require %s", dir, Root)
	}
	return string(m[1])
}

// Path is the path of the module in dir.
func Path(dir string) string { return path.Join(Root, dir) }

// add writes the three files that a proxy has for a version of a module: what is known of it, its
// go.mod, and its sources, in the form that https://go.dev/ref/mod#zip-files has.
func (p *Proxy) add(dir string, files []string) error {
	to := filepath.Join(p.dir, filepath.FromSlash(Path(dir)), "@v") // no path has upper case, which would be escaped
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(p.top, dir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": p.Version, "Time": time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	archive, err := os.Create(filepath.Join(to, p.Version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	w := zip.NewWriter(archive)
	for _, f := range files {
		if in := p.moduleOf(f); in != dir {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.top, f))
		if err != nil {
			return err
		}
		entry, err := w.Create(Path(dir) + "@" + p.Version + "/" + strings.TrimPrefix(f, strings.TrimPrefix(dir+"/", "./")))
		if err != nil {
			return err
		}
		if _, err := entry.Write(text); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(),
		os.WriteFile(filepath.Join(to, p.Version+".mod"), mod, 0o644),
		os.WriteFile(filepath.Join(to, p.Version+".info"), info, 0o644),
		os.WriteFile(filepath.Join(to, "list"), []byte(p.Version+"\n"), 0o644))
}

// moduleOf is the directory of the module that a file belongs to.
func (p *Proxy) moduleOf(file string) string {
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if slices.Contains(p.Nested, dir) {
			return dir
		}
	}
	return "."
}

// Command is the go command in a directory outside the repository, with the environment of Env.
func (p *Proxy) Command(t testing.TB, dir string, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, p.Env(t, environment...)
	return cmd
}

// Env is the environment of somebody whose go command finds the modules of the repository at this
// proxy, and those of others where this machine does. Its module cache is its own. More comes on
// top, as "NAME=value".
func (p *Proxy) Env(t testing.TB, more ...string) []string {
	t.Helper()
	env := append(os.Environ(),
		"GOWORK=off", "GOMODCACHE="+p.cache, "GOPRIVATE=", "GONOPROXY=", "GOSUMDB=off",
		// What is built of the cache is the same wherever that is, and need not be built each time.
		"GOFLAGS=-mod=mod -modcacherw -trimpath -buildvcs=false",
		"GOPROXY="+fileURL(p.dir)+","+fileURL(filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"))+","+goEnv(t, "GOPROXY"))
	return append(env, more...)
}

// goEnv is what the go command has here under this name.
func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// fileURL is an absolute path as a URL.
func fileURL(name string) string {
	if name = filepath.ToSlash(name); !strings.HasPrefix(name, "/") {
		name = "/" + name // a drive's letter
	}
	return "file://" + name
}
