package main

import (
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsPeer goes through a broker. It runs within the process of the first server,
// which reaches it over TCP, as the others do.
var natsPeer = peer{name: "NATS", base: bare.name, join: func(me int, at []string) end {
	if me == 0 {
		startBroker(at[0])
	}
	var conn *nats.Conn
	retry("connect to the broker", func() (err error) {
		conn, err = nats.Connect("nats://"+at[0], nats.NoEcho())
		return err
	})
	in := make(chan *nats.Msg, 1<<16)
	own, err := conn.ChanSubscribe(strconv.Itoa(me), in)
	check(err)
	all, err := conn.ChanSubscribe("all", in)
	check(err)
	_, err = conn.Subscribe("here."+strconv.Itoa(me), func(m *nats.Msg) { check(m.Respond(nil)) })
	check(err)
	check(conn.Flush())
	subjects := make([]string, len(at)) // of the servers that are known to listen
	return end{
		send: func(to int, b []byte) {
			if subjects[to] == "" { // what nobody listens to is dropped
				retry("find the other server", func() error {
					_, err := conn.Request("here."+strconv.Itoa(to), nil, patience)
					return err
				})
				subjects[to] = strconv.Itoa(to)
			}
			check(conn.Publish(subjects[to], b))
		},
		receive:   func() []byte { return (<-in).Data },
		broadcast: func(b []byte) { check(conn.Publish("all", b)) },
		lost: func() map[string]uint64 {
			a, err := own.Dropped()
			check(err)
			b, err := all.Dropped()
			check(err)
			return map[string]uint64{"not taken fast enough": uint64(a + b)}
		},
	}
}}

func startBroker(address string) {
	host, port, err := net.SplitHostPort(address)
	check(err)
	number, err := strconv.Atoi(port)
	check(err)
	broker, err := server.NewServer(&server.Options{
		Host: host, Port: number, NoLog: true, NoSigs: true,
		MaxPayload: 8 << 20, // the default is 1 MiB
		MaxPending: 256 << 20,
	})
	check(err)
	go broker.Start() // It runs until the process is ended.
	if !broker.ReadyForConnections(10 * time.Second) {
		fail("the broker was not ready in 10 s")
	}
}
