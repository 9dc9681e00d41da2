package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The exit codes. After a signal it is signalled plus the signal's number, as in shells.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	signalled  = 128
)

// exitCodes explains them in the help.
const exitCodes = `Exit codes:
     0  all was well
     1  something was not: a fault was found, a message was dropped or not acknowledged, a server
        did not answer, a file could not be read or written
     2  the command was not called as it should be
   129  SIGHUP (the terminal is gone) came before the command was done
   130  SIGINT (Ctrl-C) came before the command was done
   143  SIGTERM came before the command was done`

// grace is how long a command may go on after a signal, to say what it has done.
const grace = 2 * time.Second

// indivisible is held while a command does what must not be left half done. The program
// waits for it before it exits because of a signal.
var indivisible sync.Mutex

// A caught signal is the cause of the end of a command's context.
type caught struct{ syscall.Signal }

func (c caught) Error() string {
	switch c.Signal {
	case syscall.SIGHUP:
		return "ended by SIGHUP"
	case syscall.SIGTERM:
		return "ended by SIGTERM"
	}
	return "ended by SIGINT"
}

// endings are the signals that end a command. SIGHUP is for nobody under nohup, and a server that runs reads its
// configuration again.
func endings(command string) []os.Signal {
	all := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if command != "run" && !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// untilSignal runs a command and returns its exit code. One of the signals ends its
// context, and after grace the program, whatever the command waits for; another one ends
// the program at once.
func untilSignal(ends []os.Signal, command func(context.Context) int) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, ends...)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	code := make(chan int, 1)
	go func() { code <- command(ctx) }() // It ends with the program, if not before.
	var cause caught
	select {
	case c := <-code:
		return c
	case sig := <-signals:
		signal.Reset()
		cause = caught{sig.(syscall.Signal)}
		cancel(cause)
	}
	select {
	case c := <-code:
		return c
	case <-time.After(grace):
	}
	indivisible.Lock()
	fmt.Fprintln(os.Stderr, reported(cause))
	return cause.exitCode()
}

func (c caught) exitCode() int { return signalled + int(c.Signal) }

// conclude reports the error of a command and returns the exit code.
func conclude(ctx context.Context, w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		for _, err := range flatten(err) {
			fmt.Fprintln(w, reported(err))
		}
	}
	var wrong *usage
	if errors.As(err, &wrong) {
		return exitUsage
	}
	var c caught
	if errors.As(context.Cause(ctx), &c) {
		return c.exitCode()
	}
	return exitFailed
}

// errReported is returned by a command that has said already what is wrong.
var errReported = errors.New("reported already")

// A usage is the error of a command that was not called as it should be.
type usage struct{ error }

func (u *usage) Unwrap() error { return u.error }

func usageError(format string, args ...any) error { return &usage{fmt.Errorf(format, args...)} }

// reported prefixes an error with the program's name, unless it has it.
func reported(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "cluster: ") {
		return text
	}
	return "cluster: " + err.Error()
}

// because returns why ctx has ended in the place of an error that only says that it has.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// within is a context that ends after d, because of the flag that says so.
func within(ctx context.Context, flag string, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not done within %v (--%s)", d, flag))
}
