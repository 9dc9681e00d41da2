package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// measureApart is measure with each server in a process of its own, which is this program with -server. The one that leads
// writes, and prints what it has measured.
func (l load) measureApart(name string) (f figures, err error) {
	addresses, err := freeAddresses()
	if err != nil {
		return f, err
	}
	program, err := os.Executable()
	if err != nil {
		return f, err
	}
	printed, print, err := os.Pipe()
	if err != nil {
		return f, err
	}
	defer printed.Close()
	var ends []func() error
	defer func() {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
	}()
	for id := range servers {
		c := exec.Command(program, "-server", strconv.Itoa(id), "-of", name, "-addresses", strings.Join(addresses, ","),
			"-duration", l.duration.String(), "-writers", strconv.Itoa(l.writers), "-bytes", strconv.Itoa(l.bytes), "-inflight", strconv.Itoa(l.inFlight))
		c.Stdout, c.Stderr = print, os.Stderr
		input, err := c.StdinPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			return f, errors.Join(err, print.Close())
		}
		ends = append(ends, func() error { return errors.Join(input.Close(), c.Wait()) })
	}
	print.Close() // so that the pipe ends with the servers
	_, err = fmt.Fscanln(bufio.NewReader(printed), &f.rate, &f.p50, &f.p99)
	if err != nil {
		err = fmt.Errorf("no server has measured anything: %w", err)
	}
	return f, err
}

// serve is one of the servers, until standard input ends.
func (l load) serve(carry carrier, id int, addresses []string) (err error) {
	m, err := start(l, carry, id, addresses)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	over := make(chan struct{})
	go func() { // ends with the input, or with the program
		defer close(over)
		io.Copy(io.Discard, os.Stdin)
	}()
	for m.raft.State() != raft.Leader || m.raft.Barrier(time.Second).Error() != nil {
		select {
		case <-over:
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
	f, err := l.lead(m.raft)
	if err != nil {
		return err
	}
	fmt.Println(f.rate, int64(f.p50), int64(f.p99))
	<-over
	return nil
}
