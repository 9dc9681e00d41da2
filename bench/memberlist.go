package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"sync"

	"github.com/hashicorp/memberlist"
)

// memberlistPeer sends by SendReliable, which makes a TCP connection for each message.
var memberlistPeer = peer{name: "memberlist", base: bare.name, join: func(me int, at []string) end {
	host, port, err := net.SplitHostPort(at[me])
	check(err)
	number, err := strconv.Atoi(port)
	check(err)
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name = strconv.Itoa(me)
	cfg.BindAddr, cfg.BindPort = host, number
	cfg.AdvertiseAddr, cfg.AdvertisePort = host, number
	cfg.Logger = log.New(io.Discard, "", 0)
	in := make(memberlistInbox, 1024)
	cfg.Delegate = in
	list, err := memberlist.Create(cfg)
	check(err)
	if me != 0 {
		retry("join the first server", func() error {
			_, err := list.Join(at[:1])
			return err
		})
	}
	other := sync.OnceValue(func() (other *memberlist.Node) {
		retry("find the other server", func() error {
			for _, n := range list.Members() {
				if n.Name != cfg.Name {
					other = n
					return nil
				}
			}
			return fmt.Errorf("no other server is a member")
		})
		return other
	})
	return end{
		send:    func(_ int, b []byte) { check(list.SendReliable(other(), b)) },
		receive: func() []byte { return <-in },
	}
}}

// memberlistInbox is the delegate that takes what was received.
type memberlistInbox chan []byte

// NotifyMsg implements memberlist.Delegate. The bytes are only lent.
func (in memberlistInbox) NotifyMsg(b []byte) { in <- bytes.Clone(b) }

// The other methods of memberlist.Delegate say that there is no more to exchange.

func (memberlistInbox) NodeMeta(int) []byte             { return nil }
func (memberlistInbox) GetBroadcasts(int, int) [][]byte { return nil }
func (memberlistInbox) LocalState(bool) []byte          { return nil }
func (memberlistInbox) MergeRemoteState([]byte, bool)   {}
