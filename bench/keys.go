package main

import (
	"fmt"
	"os"
	"path/filepath"

	zmq "github.com/pebbe/zmq4"
)

// A keyPair is one server's.
type keyPair struct{ public, secret string }

// keyDirVariable tells the processes that measure where the keys are.
const keyDirVariable = "BENCH_KEYS"

func keyDir() string { return os.Getenv(keyDirVariable) }

// makeKeys makes the keys of two servers known to all processes that this one starts.
// The caller calls remove in the end.
func makeKeys() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "bench-keys")
	if err != nil {
		return nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	for i := range 2 {
		public, secret, err := zmq.NewCurveKeypair()
		if err == nil {
			err = os.WriteFile(keyFile(dir, i, "pub"), []byte(public), 0o600)
		}
		if err == nil {
			err = os.WriteFile(keyFile(dir, i, "key"), []byte(secret), 0o600)
		}
		if err != nil {
			remove()
			return nil, err
		}
	}
	return remove, os.Setenv(keyDirVariable, dir)
}

func benchKey(server int) keyPair {
	public, err := os.ReadFile(keyFile(keyDir(), server, "pub"))
	check(err)
	secret, err := os.ReadFile(keyFile(keyDir(), server, "key"))
	check(err)
	return keyPair{string(public), string(secret)}
}

func keyFile(dir string, server int, kind string) string {
	return filepath.Join(dir, fmt.Sprintf("%d.%s", server, kind))
}
