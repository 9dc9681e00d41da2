//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The library has no switches for faults. What has to differ is built from edited copies of some of its
// files, which the go command takes in place of them (go build -overlay).

// An edit replaces a piece of one of the library's files, which must stand there exactly once. With nothing to
// replace the file is a new one.
type edit struct {
	file     string // below the library's folder
	old, new string
}

// needSources is for rows that build their servers from an edited library.
var needSources = need{"the go command, and to be run in the directory of its sources", func() error {
	if _, err := exec.LookPath("go"); err != nil {
		return err
	}
	_, err := os.Stat("overlay.go")
	return err
}}

// buildEdited builds this program with an edited library, and returns the executable, which is in dir.
func buildEdited(ctx context.Context, dir, name, tags string, edits []edit) (exe string, err error) {
	list, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/abhishekg16/cluster").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the library's sources: %w", err)
	}
	overlay, err := writeOverlay(strings.TrimSpace(string(list)), dir, name, edits)
	if err != nil {
		return "", err
	}
	exe = filepath.Join(dir, name)
	out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-tags", tags, "-buildvcs=false", "-o", exe, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building with the edits of %s: %w\n%s", name, err, out)
	}
	return exe, nil
}

// writeOverlay writes edited copies of the files in root, and returns the file that tells the go command of
// them. All is in dir.
func writeOverlay(root, dir, name string, edits []edit) (string, error) {
	texts := make(map[string]string)
	for _, e := range edits {
		text, ok := texts[e.file]
		if !ok && e.old != "" {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if e.old == "" {
			texts[e.file] = e.new
			continue
		}
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s: what %s replaces in it stands there %d times, want once: the library has changed, and the edit has to follow:\n%s", e.file, name, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	var failed error
	for file, text := range texts {
		copied := filepath.Join(dir, name+"-"+strings.ReplaceAll(file, "/", "-"))
		failed = errors.Join(failed, os.WriteFile(copied, []byte(text), 0o666))
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	b, err := json.Marshal(overlay)
	if err = errors.Join(failed, err); err != nil {
		return "", err
	}
	file := filepath.Join(dir, name+".json")
	return file, os.WriteFile(file, b, 0o666)
}
