package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/peercatalog"
)

// keyPath is where the secret key of the server id is to be found, absolute if that can
// be told: an error that names it is read in another directory, perhaps.
func (c Config) keyPath(id int) string {
	file := cmp.Or(c.KeyFile, os.Getenv(keyfile.Variable), keyfile.Path(c.file.path, c.KeyDir, id))
	if absolute, err := filepath.Abs(file); err == nil {
		return absolute
	}
	return file
}

// secretKey reads the server's secret key, and returns it with the public key that
// belongs to it, which must be one of the server's entry.
func (c Config) secretKey(self peercatalog.Peer) (public, secret string, err error) {
	file := c.keyPath(self.ID)
	secret, err = keyfile.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("the secret key of server %d: %w: name its file in KeyFile or %s, or its directory in keyDir", self.ID, err, keyfile.Variable)
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
