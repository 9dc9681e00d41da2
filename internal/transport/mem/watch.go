package mem

// Broke tells that the connection between two endpoints has ended.
func (n *Network) Broke(from, to string) {
	n.broke(func(c *conn) bool { return c.from == from && c.endpoint == to })
}

func (n *Network) broke(those func(*conn) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c, broke := range n.watched {
		if those(c) {
			broke()
		}
	}
}

// Watch implements transport.Watch.
func (c *conn) Watch(broke func()) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.network.watched == nil {
		c.network.watched = make(map[*conn]func())
	}
	c.network.watched[c] = broke
}

// Stands implements transport.Stands.
func (c *conn) Stands(bool) bool {
	if carrier := c.network.Carrier; carrier != nil {
		return carrier.Stands(c.from, c.endpoint)
	}
	return c.network.find(c.endpoint) != nil
}
