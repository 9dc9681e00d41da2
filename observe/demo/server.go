package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// serve is one server, until ctx or standard input ends.
func serve(ctx context.Context, id int, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // It ends with the process, if not before.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		return err
	}
	cfg.Logger = slog.New(slog.DiscardHandler) // the page tells it
	node, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		return err
	}
	peer, _ := node.Catalog().Get(id)
	page, err := url.Parse(observe.PageOf(peer))
	if err != nil {
		return errors.Join(err, node.Close())
	}
	l, err := net.Listen("tcp", page.Host)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	web := &http.Server{Handler: observe.Handler(node, observe.Options{Pages: observe.PageOf}), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }() // Close ends it; it is waited for below.
	fmt.Println("ready")
	talk(ctx, node)
	err = node.Close()
	if closing := web.Close(); err == nil {
		err = closing
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// talk sends to one server, or to all, again and again, answers every fifth message, and ends with ctx.
func talk(ctx context.Context, node *cluster.Node) {
	next := time.NewTimer(0)
	defer next.Stop()
	got := 0
	for {
		select {
		case <-next.C:
			next.Reset(time.Duration(5+rand.IntN(60)) * time.Millisecond)
			to := cluster.BROADCAST
			if peers := node.Peers(); rand.IntN(4) > 0 && len(peers) > 0 {
				to = peers[rand.IntN(len(peers))]
			}
			send(ctx, node, to, strings.Repeat("hello ", 1+rand.IntN(200)))
		case e := <-node.Inbox():
			if got++; got%5 == 0 {
				send(ctx, node, e.Pid, "thanks")
			}
		case <-ctx.Done():
			return
		}
	}
}

// send hands a message over, unless ctx ends before there is room.
func send(ctx context.Context, node *cluster.Node, to int, text string) {
	select {
	case node.Outbox() <- &cluster.Envelope{Pid: to, Msg: text}:
	case <-ctx.Done():
	}
}
