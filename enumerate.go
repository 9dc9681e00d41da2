package cluster

// AllReasons returns every Reason for which a message may be dropped, in the order of the
// constants, so that what shows them, such as a collector of metrics, also has those that
// later versions add. The slice belongs to the caller.
func AllReasons() []Reason { return span(ReasonUnknownPeer, reasons) }

// AllRefusals returns every Refusal with which something may be refused, as AllReasons does.
func AllRefusals() []Refusal { return span(RefusedVersion, refusals) }

// AllLinkStates returns every LinkState in which a link may be, as AllReasons does.
func AllLinkStates() []LinkState { return span(LinkIdle, LinkState(len(linkStateNames))) }

// AllEventKinds returns every EventKind that an Event may have, as AllReasons does.
func AllEventKinds() []EventKind { return span(EventUp, EventKind(len(eventKindNames))) }

// span is the values from first to before end.
func span[T ~int](first, end T) []T {
	all := make([]T, 0, end-first)
	for v := first; v < end; v++ {
		all = append(all, v)
	}
	return all
}
