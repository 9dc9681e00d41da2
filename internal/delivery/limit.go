package delivery

// byteLimit bounds the bytes of the messages in a channel, whose capacity bounds only their
// number. It is exact to limitStep. Who sends on the channel uses it.
type byteLimit struct {
	limit  int
	pushed uint64 // envelopes put into the channel so far
	bytes  int    // of those that may still be there
	recent int    // of them, those since the last mark
	marks  []limitMark
}

// A limitMark says how many bytes were put into the channel up to an envelope.
type limitMark struct {
	index uint64 // the value of pushed when it was put there
	bytes int    // since the mark before
}

const limitStep = 32 << 10

// fits reports whether a message of size bytes may join the queued ones.
func (l *byteLimit) fits(queued, size int) bool {
	if l.bytes+size <= l.limit {
		return true
	}
	taken := l.pushed - uint64(queued)
	n := 0
	for n < len(l.marks) && l.marks[n].index < taken {
		l.bytes -= l.marks[n].bytes
		n++
	}
	l.marks = append(l.marks[:0], l.marks[n:]...)
	if queued == 0 {
		l.bytes, l.recent = 0, 0
	}
	return l.bytes == 0 || l.bytes+size <= l.limit
}

func (l *byteLimit) push(size int) {
	l.bytes += size
	if l.recent += size; l.recent >= limitStep {
		l.marks = append(l.marks, limitMark{l.pushed, l.recent})
		l.recent = 0
	}
	l.pushed++
}
