package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileKeepsTheBallot(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "state.json"))
	load := func(want Ballot) {
		t.Helper()
		if got, err := f.Load(); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	load(Ballot{0, Nobody})
	for _, b := range []Ballot{{1, 0}, {2, Nobody}, {3, 4}} {
		if err := f.Save(b); err != nil {
			t.Fatal(err)
		}
		load(b)
	}
	// A crash while the next is being written.
	if err := os.WriteFile(string(f)+".new", []byte(`{"te`), 0o600); err != nil {
		t.Fatal(err)
	}
	load(Ballot{3, 4})
}

func TestADamagedFileIsAnError(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "state.json"))
	if err := os.WriteFile(string(f), []byte("{}x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), string(f)) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if err := (File(filepath.Join(t.TempDir(), "no", "such", "directory"))).Save(Ballot{}); err == nil {
		t.Error("a ballot that cannot be written is no error")
	}
}
