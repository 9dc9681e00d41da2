package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// A lineReader reads lines in a goroutine of its own, for a read of standard input cannot
// be interrupted. The goroutine is left where it waits when the program ends.
type lineReader struct {
	results chan lineResult
	longest int
	done    context.Context // ends the goroutine, once its read returns
}

type lineResult struct {
	line string
	err  error
}

// readLines reads lines of at most longest bytes until ctx ends.
func readLines(ctx context.Context, in io.Reader, longest int) *lineReader {
	r := &lineReader{results: make(chan lineResult), longest: longest, done: ctx}
	go r.run(in)
	return r
}

// next returns the next line without its end, "\n" or "\r\n". After the last one the error
// is io.EOF, and when ctx has ended it is the cause of that.
func (r *lineReader) next() (string, error) {
	select {
	case res := <-r.results:
		return res.line, res.err
	case <-r.done.Done():
		return "", context.Cause(r.done)
	}
}

func (r *lineReader) run(in io.Reader) {
	b := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := r.read(b)
		select {
		case r.results <- lineResult{line, err}:
		case <-r.done.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// read holds no more of a line than is allowed.
func (r *lineReader) read(b *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		if end, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			line = bytes.TrimSuffix(end, []byte("\r"))
		}
		switch {
		case len(line) > r.longest:
			return "", fmt.Errorf("a line is longer than maxMessageBytes (%d)", r.longest)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("reading standard input: %w", err)
		}
		return string(line), err
	}
}
