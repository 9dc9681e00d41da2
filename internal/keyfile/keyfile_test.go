package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/curve"
)

func TestReadReturnsWhatTextWrote(t *testing.T) {
	_, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "0.key")
	if err := os.WriteFile(file, Text(secret, "the secret key of server 0", "keep it here"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(file); err != nil || got != secret {
		t.Errorf("got %v, and the right key: %t", err, got == secret)
	}
}

func TestWhatHoldsNoKeyOrShowsItToOthersIsAnErrorThatSaysWhy(t *testing.T) {
	_, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       []string
	}{
		{"nothing", "", 0o600, []string{"want one line with a key", "got 0 lines"}},
		{"two keys", secret + "\n" + secret, 0o600, []string{"got 2 lines"}},
		{"part of a key", secret[1:], 0o600, []string{"want 40 characters in Z85, got 39"}},
		{"others read it", secret, 0o640, []string{"0640", "run chmod 600 "}},
		{"others write it", secret, 0o602, []string{"0602"}},
		{"far too much", strings.Repeat("# \n", maxSize), 0o600, []string{"more than a key"}},
		{"a long line", "# " + strings.Repeat("x", maxSize-2), 0o600, []string{"token too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "0.key")
			if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			got, err := Read(file)
			if err == nil {
				t.Fatalf("no error, and a key of %d characters", len(got))
			}
			for _, want := range append(c.want, file) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), secret[1:]) {
				t.Error("the error quotes the secret key")
			}
		})
	}
}

func TestPathIsSeenFromTheConfiguration(t *testing.T) {
	for _, c := range []struct{ config, keyDir, want string }{
		{"", "", "3.key"},
		{"", "keys", "keys/3.key"},
		{"Config.json", "", "3.key"},
		{"etc/Config.json", "", "etc/3.key"},
		{"etc/Config.json", "keys", "etc/keys/3.key"},
		{"etc/Config.json", "/keys", "/keys/3.key"},
	} {
		if got := filepath.ToSlash(Path(c.config, c.keyDir, 3)); got != c.want {
			t.Errorf("Path(%q, %q, 3) = %q, want %q", c.config, c.keyDir, got, c.want)
		}
	}
}
