package main

import (
	"context"
	"time"

	gozmq "github.com/go-zeromq/zmq4"
)

// goZeroMQ is ZeroMQ's protocol without libzmq, in Go alone.
var goZeroMQ = peer{name: "go-zeromq", base: bare.name, join: func(me int, at []string) end {
	ctx := context.Background()
	pull := gozmq.NewPull(ctx)
	check(pull.Listen("tcp://" + at[me]))
	var push gozmq.Socket
	return end{
		send: func(to int, b []byte) {
			if push == nil {
				push = gozmq.NewPush(ctx, gozmq.WithDialerRetry(20*time.Millisecond), gozmq.WithDialerMaxRetries(250))
				check(push.Dial("tcp://" + at[to]))
			}
			check(push.Send(gozmq.NewMsg(b)))
		},
		receive: func() []byte {
			m, err := pull.Recv()
			check(err)
			return m.Bytes()
		},
	}
}}
