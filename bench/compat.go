package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"time"
)

// This file lets two versions of the library talk to each other, each in a process of
// its own, and holds what arrives against what was sent.

// exchangeEach are the messages that each of two servers sends.
const exchangeEach = 3000

// compatible returns an error unless the library in the working tree and that of a
// revision get all messages of each other, in order and as they were sent, without keys
// and with them.
func compatible(ctx context.Context, revision string, out io.Writer) error {
	remove, err := makeKeys()
	if err != nil {
		return err
	}
	defer remove()
	dir, err := os.MkdirTemp("", "bench-compat")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	v, err := buildVersions(ctx, revision, dir)
	if err != nil {
		return err
	}
	for _, p := range []peer{channels, direct, keyed} {
		for _, pair := range [][2]string{{v.old, v.new}, {v.new, v.old}} {
			if err := exchangeBetween(ctx, p.name, pair); err != nil {
				return fmt.Errorf("%s: servers 0 and 1 are %s: %w", p.name, versionsOf(v, pair), err)
			}
		}
		fmt.Fprintf(out, "%s: the working tree and %.12s exchanged %d messages in each direction, as server 0 and 1 and the other way round.\n",
			p.name, v.commit, exchangeEach)
	}
	return nil
}

func versionsOf(v versions, programs [2]string) string {
	var names []string
	for _, p := range programs {
		if p == v.new {
			names = append(names, "the working tree")
		} else {
			names = append(names, fmt.Sprintf("%.12s", v.commit))
		}
	}
	return strings.Join(names, " and ")
}

// exchangeBetween lets two programs exchange messages.
func exchangeBetween(ctx context.Context, peer string, programs [2]string) error {
	at, err := freeAddresses(len(programs))
	if err != nil {
		return err
	}
	var all []*process
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	for me, program := range programs {
		p, err := newProcess(ctx, program, job{Kind: exchange, Peer: peer, Load: smallLoad, Me: me, At: at})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	// Each says so when it has got all, and stays: what it has sent may be on its way.
	for _, p := range all {
		if _, err := p.line(); err != nil {
			return because(all, err)
		}
	}
	return nil
}

// exchangeAll sends all messages to the other server, and returns when as many have
// come from it, each as it has to be.
func (w *worker) exchangeAll(e end) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range int64(exchangeEach) {
			e.sendValue(1-w.job.Me, exchanged(i))
		}
	}()
	received := make(chan struct{})
	go func() {
		defer close(received)
		for i := range int64(exchangeEach) {
			if got, want := e.receiveValue(), arrived(exchanged(i)); !reflect.DeepEqual(got, want) {
				fail("message %d is %.200s instead of %.200s", i, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want))
			}
		}
	}()
	late := time.After(patience)
	for _, c := range []chan struct{}{sent, received} {
		select {
		case <-c:
		case <-late:
			fail("not all was sent and received in %v; lost: %v", patience, e.lost())
		}
	}
}

// exchanged is the i-th message of an exchange. All kinds that the wire format has come
// in turn.
func exchanged(i int64) any {
	text := fmt.Sprint("message ", i)
	r, p := reading{i, -i, i << 40, math.MinInt64 + i}, packed{i, -i, i << 40, math.MinInt64 + i}
	all := []any{
		i, int(-i), int8(i), int16(i), int32(i), uint(i), uint8(i), uint16(i), uint32(i), math.MaxUint64 - uint64(i),
		float32(i) / 3, float64(i) / 3, i%2 == 0, i%2 == 1, nil, text, []byte(text), []byte(nil), []byte{},
		time.Unix(i, i).UTC(), time.Duration(i),
		r, &r, []reading{r, r}, map[string]*reading{text: &r}, [2]reading{r, r}, p, &p, []packed{p},
		[]string{text, ""}, []int64{i, -i}, map[string]int64{"a": i, "b": -i}, map[int32][]string{int32(i): {text}},
		map[string]any{"reading": r, "list": []any{text, i, nil, 1.5, true}},
		strings.Repeat(text, 1000),
	}
	if i%200 == 0 { // in pieces
		b := make([]byte, 300<<10)
		for j := range b {
			b[j] = byte(i) + byte(j%251)
		}
		return b
	}
	return all[i%int64(len(all))]
}

// arrived is how a message that was sent arrives: a pointer as what it points to.
func arrived(v any) any {
	switch p := v.(type) {
	case *reading:
		return *p
	case *packed:
		return *p
	}
	return v
}
