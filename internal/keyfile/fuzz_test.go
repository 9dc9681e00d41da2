package keyfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/curve"
)

// FuzzKeyFile reads a key from a file with arbitrary content. What is taken for a key is
// one, and errors quote nothing that could be one.
func FuzzKeyFile(f *testing.F) {
	_, secret, err := curve.Generate()
	if err != nil {
		f.Fatal(err)
	}
	for _, content := range []string{
		"", secret, secret + "\n", "# a comment\n\n  " + secret + "\r\n#\n", secret + "\n" + secret, secret[:39],
		"#" + secret[1:], "# " + secret, "\xef\xbb\xbf" + secret, strings.Repeat("0", 40), strings.Repeat("#", 40),
		strings.Repeat("x", 70_000), strings.Repeat("# x\n", 20_000),
	} {
		f.Add([]byte(content))
	}
	file := filepath.Join(f.TempDir(), "0.key")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := Read(file)
		if err == nil {
			if fault := curve.Check(key); fault != nil || !bytes.Contains(content, []byte(key)) {
				t.Errorf("%q is taken for a key: %v", key, fault)
			}
			return
		}
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimSpace(line); curve.Check(line) == nil && strings.Contains(err.Error(), line) {
				t.Errorf("the error quotes what could be a key: %v", err)
			}
		}
	})
}
