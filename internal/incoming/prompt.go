package incoming

import "time"

// promptMost is how many frames may be read while a peer waits to be told how far it was taken.
const promptMost = 16

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// owe notes that the peer of a source waits, and whether for a lone message. The caller holds mu.
func (in *In) owe(s *source, lone bool) {
	in.lone = in.lone || lone
	if !s.owed {
		s.owed = true
		in.prompts = append(in.prompts, s)
	}
}

// prompt tells all peers that wait how far they were taken. The caller reads the listener, and holds no lock.
func (in *In) prompt() {
	in.owing = 0
	for {
		in.mu.Lock()
		n := len(in.prompts)
		if n == 0 {
			in.lone = false
			in.mu.Unlock()
			return
		}
		s := in.prompts[n-1]
		in.prompts, s.owed = in.prompts[:n-1], false
		ack, l := s.stream.Ack(false, time.Now()), s.link(true)
		in.mu.Unlock()
		if l != nil {
			l.Prompt(ack)
		}
	}
}

// promptSoon is prompt if somebody waits for a lone message, if whoever reads may do something else before it looks for more, or if it has
// taken in a good deal since somebody waits. The caller reads the listener.
func (in *In) promptSoon(lone bool) {
	if in.owing++; lone || in.owing >= promptMost || !in.lease.byRun.Load() {
		in.prompt()
	}
}
