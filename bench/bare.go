package main

import (
	"net"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// bare is what a program would write on ZeroMQ itself: one blocking call for
// each message. bareCurve is the same, encrypted.
var (
	bare      = bareLoop("bare", "bare", plain{})
	bareCurve = bareLoop("bare, CURVE", "bare, CURVE", curve{})
)

// A mechanism prepares sockets for those who bind and those who connect.
type mechanism interface {
	server(*zmq.Socket)
	client(*zmq.Socket)
}

type plain struct{}

func (plain) server(*zmq.Socket) {}
func (plain) client(*zmq.Socket) {}

// curve encrypts. All servers have one and the same key here: what is measured does
// not depend on it.
type curve struct{}

func (curve) server(s *zmq.Socket) {
	check(s.SetCurveServer(1))
	check(s.SetCurveSecretkey(benchKeys[0].secret))
}

func (curve) client(s *zmq.Socket) {
	check(s.SetCurveServerkey(benchKeys[0].public))
	check(s.SetCurvePublickey(benchKeys[0].public))
	check(s.SetCurveSecretkey(benchKeys[0].secret))
}

func bareLoop(name, base string, m mechanism) contestant {
	pull := func(address string) *zmq.Socket { return socket(zmq.PULL, m.server, (*zmq.Socket).Bind, address) }
	push := func(address string) *zmq.Socket { return socket(zmq.PUSH, m.client, (*zmq.Socket).Connect, address) }
	return contestant{
		name: name,
		base: base,
		sink: func(at addresses, size, n int) time.Duration {
			s := pull(at[0])
			receive(s)
			start := time.Now()
			for range n - 1 {
				receive(s)
			}
			return time.Since(start)
		},
		source: func(at addresses, size, n int) {
			s := push(at[0])
			b := make([]byte, size)
			for range n {
				_, err := s.SendBytes(b, 0)
				check(err)
			}
			time.Sleep(time.Minute) // until it is killed
		},
		echo: func(at addresses) {
			in, out := pull(at[1]), push(at[0])
			for {
				_, err := out.SendBytes(receive(in), 0)
				check(err)
			}
		},
		ping: func(at addresses, size, n int) []time.Duration {
			in, out := pull(at[0]), push(at[1])
			b := make([]byte, size)
			return trips(n, func() {
				_, err := out.SendBytes(b, 0)
				check(err)
				receive(in)
			})
		},
	}
}

// trips times n calls of f, after some to warm up.
func trips(n int, f func()) []time.Duration {
	for range 200 {
		f()
	}
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		f()
		times[i] = time.Since(start)
	}
	return times
}

func socket(kind zmq.Type, prepare func(*zmq.Socket), attach func(*zmq.Socket, string) error, address string) *zmq.Socket {
	s, err := zmq.NewSocket(kind)
	check(err)
	prepare(s)
	check(attach(s, "tcp://"+address))
	return s
}

func receive(s *zmq.Socket) []byte {
	b, err := s.RecvBytes(0)
	check(err)
	return b
}

// freeAddress is an address of this machine with a port that nobody uses.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().String()
}
