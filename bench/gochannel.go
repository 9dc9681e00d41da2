package main

import "sync"

// goChannel is no messaging between servers at all: a Go channel within one process,
// as a limit to compare with. It hands values over and copies nothing.
var goChannel = peer{name: "Go channel", base: bare.name, oneProcess: true, join: func(me int, at []string) end {
	return end{
		sendValue:    func(to int, v any) { mailbox(to) <- v },
		receiveValue: func() any { return <-mailbox(me) },
	}
}}

// mailbox is the channel of one of two servers.
var mailbox = func() func(server int) chan any {
	boxes := sync.OnceValue(func() [2]chan any { return [2]chan any{make(chan any, 1024), make(chan any, 1024)} })
	return func(server int) chan any { return boxes()[server] }
}()
