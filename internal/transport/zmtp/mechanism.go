package zmtp

import (
	"errors"
	"fmt"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// The names of the mechanisms in greetings.
const (
	mechanismNull  = "NULL"
	mechanismCurve = "CURVE"
)

// A mechanism is one end's part in how two peers make sure of each other: a handshake on one
// connection. It is used by one goroutine.
type mechanism interface {
	// greeting is what ours says of the mechanism.
	greeting() greeting
	// start returns the command that this end sends before it has heard any; nil: none.
	start() (command []byte, err error)
	// next takes a command of the peer's and returns the one to answer with, also where there is an
	// error; nil: none. When done, the handshake has succeeded once the answer is sent. The error
	// is one of the causes.
	next(command []byte) (reply []byte, done bool, err error)
	// proved is the public key that the peer has proved to have, and what the connection is
	// encrypted with from then on. They are empty and nil without keys.
	proved() (key string, s *curve.Session)
	// wipe overwrites the keys: those of a handshake that has failed, or of a connection that has ended.
	wipe()
}

// An end is which of the two ends of a connection we are.
type end struct {
	own, peer string // types of sockets
	foreign   error  // the cause if the peer's is another
}

var (
	pushing = end{typePush, typePull, fmt.Errorf("%w: it is no PULL socket", errBroken)}
	pulling = end{typePull, typePush, fmt.Errorf("%w: it is no PUSH socket", errBroken)}
)

// properties are what this end tells of itself.
func (e end) properties() []byte { return appendProperty(nil, socketType, e.own) }

// check looks at what the peer tells of itself.
func (e end) check(properties []byte) error {
	if t, ok := property(properties, socketType); !ok || t != e.peer {
		return e.foreign
	}
	return nil
}

// null is the mechanism without keys: each end sends READY.
type null struct{ end }

func (null) greeting() greeting { return greeting{mechanism: mechanismNull} }

func (n null) start() ([]byte, error) { return command(commandReady, n.properties()), nil }

func (n null) next(body []byte) (reply []byte, done bool, err error) {
	name, data, ok := parseCommand(body)
	switch {
	case !ok:
		return nil, false, errBroken
	case string(name) == commandError:
		return nil, false, errRefusing
	case string(name) != commandReady:
		return nil, false, fmt.Errorf("%w: it did not send READY", errBroken)
	}
	return nil, true, n.check(data)
}

func (null) proved() (string, *curve.Session) { return "", nil }

func (null) wipe() {}

// decodeKeys reads a server's own keys.
func decodeKeys(s *transport.Security) (*curve.Keys, error) {
	secret, err := keys.Decode(s.Secret)
	if err != nil {
		return nil, fmt.Errorf("the secret key: %w", err)
	}
	return curve.NewKeys(secret)
}

// curveClient is the mechanism with keys, as the end that dials.
type curveClient struct{ *curve.Client }

func newCurveClient(k *curve.Keys, server [32]byte) curveClient {
	return curveClient{curve.NewClient(curve.ClientOptions{Keys: k, Server: server, Metadata: pushing.properties(), Check: pushing.check})}
}

func (curveClient) greeting() greeting { return greeting{mechanism: mechanismCurve} }

func (c curveClient) start() ([]byte, error) {
	command, err := c.Start()
	return command, curveCause(err)
}

func (c curveClient) next(body []byte) (reply []byte, done bool, err error) {
	reply, done, err = c.Next(body)
	return reply, done, curveCause(err)
}

func (c curveClient) proved() (string, *curve.Session) { return "", c.Session() }

func (c curveClient) wipe() { c.Close() }

// curveServer is the mechanism with keys, as the end that listens. It computes when it is the
// connection's turn.
type curveServer struct {
	*curve.Server
	shakes *handshakes
	conn   *halfOpen
}

// curveOptions are what all connections to a listener have in common.
func curveOptions(s *transport.Security) (*curve.ServerOptions, error) {
	k, err := decodeKeys(s)
	if err != nil {
		return nil, err
	}
	// Who is not let in may be listed later, and is told nothing: a server that is told would
	// never try again, if libzmq is its transport.
	return &curve.ServerOptions{
		Keys: k, Metadata: pulling.properties(), Check: pulling.check,
		Admit: func(client [32]byte) bool { return s.Admit != nil && s.Admit(keys.Encode(client)) },
	}, nil
}

func (curveServer) greeting() greeting { return greeting{mechanism: mechanismCurve, asServer: true} }

func (curveServer) start() ([]byte, error) { return nil, nil }

func (c curveServer) next(body []byte) (reply []byte, done bool, err error) {
	if !c.shakes.compute(c.conn, func() { reply, done, err = c.Next(body) }) {
		return nil, false, errUnfinished
	}
	return reply, done, curveCause(err)
}

func (c curveServer) proved() (string, *curve.Session) {
	return keys.Encode(c.Client()), c.Session()
}

func (c curveServer) wipe() { c.Close() }

// curveCause makes a cause of why a handshake with keys failed.
func curveCause(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, curve.ErrNotAdmitted):
		return errNotAdmitted
	case errors.Is(err, curve.ErrRefused):
		return errRefusing
	case errors.Is(err, curve.ErrBox), errors.Is(err, curve.ErrCookie), errors.Is(err, curve.ErrVouch):
		return errMisplaced
	case errors.Is(err, pushing.foreign):
		return pushing.foreign
	case errors.Is(err, pulling.foreign):
		return pulling.foreign
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}
