package main

import (
	zmq "github.com/pebbe/zmq4"
)

// bare is what a program would write on ZeroMQ itself: one blocking call for
// each message. bareCurve is the same, encrypted.
var (
	bare      = bareLoop("bare ZeroMQ", plain{})
	bareCurve = bareLoop("bare ZeroMQ, CURVE", curve{})
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
	check(s.SetCurveSecretkey(benchKey(0).secret))
}

func (curve) client(s *zmq.Socket) {
	key := benchKey(0)
	check(s.SetCurveServerkey(key.public))
	check(s.SetCurvePublickey(key.public))
	check(s.SetCurveSecretkey(key.secret))
}

func bareLoop(name string, m mechanism) peer {
	return peer{name: name, base: name, join: func(me int, at []string) end {
		if me == 0 {
			check(zmq.SetMaxSockets(65_536)) // many servers in one process have many
		}
		pull := socket(zmq.PULL, m.server, (*zmq.Socket).Bind, at[me])
		pushes := make([]*zmq.Socket, len(at))
		return end{
			send: func(to int, b []byte) {
				if pushes[to] == nil {
					pushes[to] = socket(zmq.PUSH, m.client, (*zmq.Socket).Connect, at[to])
				}
				_, err := pushes[to].SendBytes(b, 0)
				check(err)
			},
			receive: func() []byte {
				b, err := pull.RecvBytes(0)
				check(err)
				return b
			},
		}
	}}
}

func socket(kind zmq.Type, prepare func(*zmq.Socket), attach func(*zmq.Socket, string) error, address string) *zmq.Socket {
	s, err := zmq.NewSocket(kind)
	check(err)
	prepare(s)
	check(attach(s, "tcp://"+address))
	return s
}
