//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhatAKilledDriverLeftIsRemoved(t *testing.T) {
	for _, n := range needNetwork {
		if err := n.check(); err != nil {
			t.Skipf("it needs %s: %v", n.what, err)
		}
	}
	start := func() *exec.Cmd {
		driver := exec.Command("sleep", "60")
		if err := driver.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			driver.Process.Kill()
			driver.Wait()
		})
		return driver
	}
	add := func(format string, a ...any) string {
		name := fmt.Sprintf(format, a...)
		if err := runCommand("ip", "netns", "add", name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() }) // if it is there
		return filepath.Join(namespaces, name)
	}
	killed, alive := start(), start()
	killed.Process.Kill()
	killed.Wait()
	files := filepath.Join(hostFiles, fmt.Sprintf("faults-%d-0", killed.Process.Pid))
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(files) })
	own := &trial{row: &row{name: "own"}}
	name, err := own.newNamespace("0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.undo[0])

	gone := []string{add("faults-%d-0", killed.Process.Pid), add("faults-%d-bridge", killed.Process.Pid), files}
	left := []string{
		filepath.Join(namespaces, name),
		add("faults-%d-0", alive.Process.Pid),
		add("others-%d-0", killed.Process.Pid),
		add("my-faults-%d-0", killed.Process.Pid),
	}
	removed, err := sweep()
	if err != nil {
		t.Error(err)
	}
	for _, path := range gone {
		if _, err := os.Lstat(path); err == nil || !slices.Contains(removed, path) {
			t.Errorf("%s is not removed", path)
		}
	}
	for _, path := range left {
		if _, err := os.Lstat(path); err != nil || slices.Contains(removed, path) {
			t.Errorf("%s is removed: %v", path, err)
		}
	}
}
