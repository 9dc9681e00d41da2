package cluster

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/peercatalog"
)

// keyFileVariable is the environment variable that names the file with the secret key
// where Config.KeyFile does not.
const keyFileVariable = "CLUSTER_KEY_FILE"

// maxKeyFile bounds what is read of a file that should hold one key.
const maxKeyFile = 64 << 10

// keyPath is where the secret key of the server id is to be found.
func (c Config) keyPath(id int) string {
	if file := cmp.Or(c.KeyFile, os.Getenv(keyFileVariable)); file != "" {
		return file
	}
	dir := c.KeyDir
	if !filepath.IsAbs(dir) && c.file != "" {
		dir = filepath.Join(filepath.Dir(c.file), dir)
	}
	return filepath.Join(dir, fmt.Sprintf("%d.key", id))
}

// secretKey reads the server's secret key, and returns it with the public key that
// belongs to it, which must be one of the server's entry.
func (c Config) secretKey(self peercatalog.Peer) (public, secret string, err error) {
	file := c.keyPath(self.ID)
	secret, err = readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("the secret key of server %d: %w: name its file in KeyFile or %s, or its directory in keyDir", self.ID, err, keyFileVariable)
	}
	if err != nil {
		return "", "", fmt.Errorf("the secret key of server %d: %w", self.ID, err)
	}
	public, err = curve.Public(secret)
	if err != nil {
		return "", "", fmt.Errorf("the secret key of server %d: %s: %w", self.ID, file, err)
	}
	if !slices.Contains(self.Keys(), public) {
		return "", "", fmt.Errorf("the secret key of server %d: %s: it belongs to the public key %q, and the entry of server %d has %q", self.ID, file, public, self.ID, self.Keys())
	}
	return public, secret, nil
}

// readKey reads a file that holds one key, and that nobody but its owner may read or
// write. Errors do not quote what is in it.
func readKey(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: it is not a file", file)
	case info.Size() > maxKeyFile:
		return "", fmt.Errorf("%s: %d bytes are more than a key", file, info.Size())
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s: its permissions are %#o, so that others can use the key: run chmod 600 %s", file, info.Mode().Perm(), file)
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
