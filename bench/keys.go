package main

import (
	"os"
	"strings"

	zmq "github.com/pebbe/zmq4"
)

// A keyPair is one server's.
type keyPair struct{ public, secret string }

// benchKeys are the keys of both processes, which make them known to their children
// in the environment.
var benchKeys = func() (keys [2]keyPair) {
	const variable = "BENCH_KEYS"
	if words := strings.Fields(os.Getenv(variable)); len(words) == 4 {
		return [2]keyPair{{words[0], words[1]}, {words[2], words[3]}}
	}
	var words []string
	for i := range keys {
		public, secret, err := zmq.NewCurveKeypair()
		check(err)
		keys[i] = keyPair{public, secret}
		words = append(words, public, secret)
	}
	check(os.Setenv(variable, strings.Join(words, " ")))
	return keys
}()
