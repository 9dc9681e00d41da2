package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// tcp is a connection with a length before each message, and a buffer on each side:
// the least that a program has to write without a library.
var tcp = peer{name: "plain TCP", base: bare.name, join: func(me int, at []string) end {
	conn := oneConnection(me, at[0])
	type buffers struct {
		in  *bufio.Reader
		out *bufio.Writer
	}
	buffered := sync.OnceValue(func() buffers {
		c := conn()
		return buffers{bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)}
	})
	var length, came [4]byte // before what is sent, and what is received
	return end{
		send: func(_ int, b []byte) {
			out := buffered().out
			binary.LittleEndian.PutUint32(length[:], uint32(len(b)))
			_, err := out.Write(length[:])
			check(err)
			_, err = out.Write(b)
			check(err)
		},
		receive: func() []byte {
			in := buffered().in
			_, err := io.ReadFull(in, came[:])
			check(err)
			b := make([]byte, binary.LittleEndian.Uint32(came[:]))
			_, err = io.ReadFull(in, b)
			check(err)
			return b
		},
		flush: func() { check(buffered().out.Flush()) },
	}
}}

// oneConnection is the connection between two servers, of which the first listens at
// the address. The function it returns waits for it.
func oneConnection(me int, address string) func() net.Conn {
	if me != 0 {
		return sync.OnceValue(func() net.Conn {
			var c net.Conn
			retry("connect to "+address, func() (err error) {
				c, err = net.Dial("tcp", address)
				return err
			})
			return c
		})
	}
	l, err := net.Listen("tcp", address)
	check(err)
	return sync.OnceValue(func() net.Conn {
		c, err := l.Accept()
		check(err)
		return c
	})
}
