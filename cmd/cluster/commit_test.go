package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/keyfile"
)

func TestWhatWasWrittenIsTakenBackWhenTheLastStepFails(t *testing.T) {
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprint("force ", force), func(t *testing.T) {
			dir, _ := configured(t, 2)
			if force {
				write(t, dir, "0.key", "old", 0o600)
			}
			file, err := openConfig(filepath.Join(dir, "Config.json"))
			if err != nil {
				t.Fatal(err)
			}
			w := writes{config: file, text: []byte("new"), force: force}
			for id, name := range []string{"0.key", "keys/1.key"} {
				k, err := newKey(id, filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				w.keys = append(w.keys, k)
			}
			write(t, dir, "Config.json", "changed by somebody else", 0o644)
			before := snapshot(t, dir)
			_, err = w.commit()
			if err == nil || !strings.Contains(err.Error(), "changed by somebody else meanwhile") || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("something has changed (before -, now +):\n%s", diff)
			}
		})
	}
}

// Once the configuration has the new public keys, the new secret ones must stay, whatever
// fails then.
func TestOnceTheConfigurationIsReplacedNothingIsUndone(t *testing.T) {
	for _, stuck := range []string{".0.key.old.", ".0.key."} {
		t.Run(stuck, func(t *testing.T) {
			dir, _ := keyed(t, 2)
			file, err := openConfig(filepath.Join(dir, "Config.json"))
			if err != nil {
				t.Fatal(err)
			}
			old := read(t, filepath.Join(dir, "0.key"))
			w := writes{config: file, force: true, remove: func(path string) error {
				if strings.HasPrefix(filepath.Base(path), stuck) {
					return &os.PathError{Op: "remove", Path: path, Err: errors.New("this file cannot be deleted")}
				}
				return os.Remove(path)
			}}
			var edits []edit
			var keys []string
			for id := range 2 {
				k, err := newKey(id, filepath.Join(dir, fmt.Sprintf("%d.key", id)))
				if err != nil {
					t.Fatal(err)
				}
				e, err := setPublicKey(file.text, file.entries[id], k.public)
				if err != nil {
					t.Fatal(err)
				}
				w.keys, edits, keys = append(w.keys, k), append(edits, e...), append(keys, k.public)
			}
			if err := w.edit(edits); err != nil {
				t.Fatal(err)
			}
			left, err := w.commit()
			if err != nil || len(left) == 0 {
				t.Errorf("got %v and an error %v, want what is left and no error", left, err)
			}
			for id, p := range load(t, dir).Peers {
				if p.PublicKey != keys[id] {
					t.Errorf("the configuration has the public key %q for server %d, want %q", p.PublicKey, id, keys[id])
				}
				if got, err := existingKey(keyfile.Path(file.path, "", id)); err != nil || got != keys[id] {
					t.Errorf("the key file of server %d has the key of %q, %v, want the new one", id, got, err)
				}
			}
			if stuck == ".0.key.old." && (len(left) != 1 || read(t, left[0].path) != old) {
				t.Errorf("%v is left, want the old key of server 0", left)
			}
		})
	}
}
