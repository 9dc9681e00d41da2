package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/abhishekg16/cluster/internal/configfile"
	"github.com/abhishekg16/cluster/internal/filewatch"
)

// An origin is the file that LoadConfig has read.
type origin struct {
	name     string    // as it was given, for the text of errors
	path     string    // absolute, so that KeyDir does not move with the working directory
	sum      uint64    // of its text; see filewatch.Sum
	bare     bool      // it is bare entries one after another
	settings []setting // what it says beside the servers; not to be changed
}

// maxConfigFile bounds what LoadConfig reads.
const maxConfigFile = 64 << 20

// LoadConfig reads a configuration and checks all of it. The error joins one
// error for each fault, which names the file, the entry and the field; of a
// file that cannot be read it wraps the system's error (fs.ErrNotExist).
//
// The file is JSON in one of three shapes, with names in any case:
//
//	{"cluster": "demo", "peers": [{"id": 0, "address": "127.0.0.1:8081", "bind": "*:8081"}], "sendTimeout": "1s"}
//	[{"ID": "0", "IP": "127.0.0.1", "Port": "8081"}]
//	{"ID": "0", "IP": "127.0.0.1", "Port": "8081"} {"ID": "1", "IP": "127.0.0.1", "Port1": 8082, "Port2": 9082}
//
// In the first, "replicas" stands for entries that differ in their ids alone (see peercatalog.Replicas), with
// "replicaAddress" and "replicaBind"; these come behind those of peers, in which they may leave out their addresses.
//
// In the last two, ids and ports are strings or numbers, and Port2 is ignored.
// Fields that are not ours are kept in Extra, at the top and of each entry.
// Fields that the file leaves out are zero: their defaults come in with
// NewFromConfig.
func LoadConfig(path string) (Config, error) {
	return loadConfig(path, parseConfig)
}

// loadConfig is LoadConfig with another way to parse the file.
func loadConfig(path string, parse func(file string, data []byte) (Config, error)) (Config, error) {
	data, err := readConfig(path)
	if err != nil {
		return Config{}, fmt.Errorf("cluster: reading the configuration: %w", err)
	}
	c, err := parse(path, data)
	if err != nil {
		return Config{}, err
	}
	c.file.sum = filewatch.Sum(data)
	if c.file.path, err = filepath.Abs(path); err != nil {
		return Config{}, fmt.Errorf("cluster: the directory of the configuration %s: %w", path, err)
	}
	return c, nil
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	return readAll(f)
}

// rereadConfig is readConfig of a file that was read before. It never waits, as a named pipe would make it.
func rereadConfig(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file: only such a one can be read again", path)
	}
	return readAll(f)
}

// readAll reads the text of a configuration.
func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(data) > maxConfigFile {
		err = fmt.Errorf("%s: the file is larger than %d MiB", f.Name(), maxConfigFile>>20)
	}
	return data, err
}

// parseConfig is LoadConfig without the file.
func parseConfig(file string, data []byte) (Config, error) {
	f := configfile.Parse(file, data)
	c := configOf(f)
	c.file.name, c.file.bare, c.file.settings = file, f.Bare, c.settings()
	faults := f.Faults
	if !f.Broken {
		faults = append(faults, c.check(f)...)
	}
	if len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	return c, nil
}
