package clustertest

// RuleNames are the names of all rules of the suite.
func RuleNames() (names []string) {
	for _, r := range rules() {
		names = append(names, r.name)
	}
	return names
}

// Connect makes all connections between servers that run stand at once: what tests send first
// does not wait for a handshake then, and arrives when the delays say.
func (n *Network) Connect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, from := range n.ids {
		for _, to := range n.ids {
			if p := n.path(Link{from, to}); from != to && n.listening[from] && n.listening[to] {
				p.want(n)
				p.step = toStand
				p.take(n)
			}
		}
	}
}

// Idle reports whether nothing is due that the network itself does.
func (n *Network) Idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.arrivals) == 0
}

// Paced reports whether a sender had to wait for room so far: from then on frames, which the scheduler packs, decide what
// leaves when.
func (n *Network) Paced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paced
}

// SourceRuleNames are the names of the rules for a Source.
var SourceRuleNames = sourceRuleNames
