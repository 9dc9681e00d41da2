// Package keyfile reads and writes the files that hold the servers' secret keys, one
// in each: 40 characters in Z85, beside lines that begin with "# ".
package keyfile

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/abhishekg16/cluster/internal/curve"
)

// Variable is the environment variable that names the file of the one server that a
// program runs.
const Variable = "CLUSTER_KEY_FILE"

// maxSize bounds what is read of a file that should hold one key.
const maxSize = 64 << 10

// Path is where the key of a server is, if nothing else names its file. keyDir is as
// in the configuration: a relative one is seen from the directory of that file, whose
// path is config.
func Path(config, keyDir string, id int) string {
	if !filepath.IsAbs(keyDir) && config != "" {
		keyDir = filepath.Join(filepath.Dir(config), keyDir)
	}
	return filepath.Join(keyDir, fmt.Sprintf("%d.key", id))
}

// Read returns the key in a file that nobody but its owner may read or write, or that
// was mounted for this process (see access.permits). Errors name the file, and do not
// quote what is in it.
func Read(file string) (secret string, err error) {
	// To open what is no file, such as a pipe, may take for ever.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: it is not a file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.Size() > maxSize:
		return "", fmt.Errorf("%s: %d bytes are more than a key", file, info.Size())
	}
	if err := checkAccess(file, info); err != nil {
		return "", err
	}
	var keys []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line != "" && line != "#" && !strings.HasPrefix(line, "# ") {
			keys = append(keys, line)
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if len(keys) != 1 {
		return "", fmt.Errorf("%s: want one line with a key, and comments that begin with \"# \"; got %d lines", file, len(keys))
	}
	if err := curve.Check(keys[0]); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return keys[0], nil
}

// Text is the content of a file for the key, with these lines of comment.
func Text(secret string, comment ...string) []byte {
	var b strings.Builder
	for _, line := range comment {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	fmt.Fprintln(&b, secret)
	return []byte(b.String())
}
