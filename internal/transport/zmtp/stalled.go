package zmtp

import (
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Flow implements transport.FlowOf.
func (c *Conn) Flow() (f transport.Flow, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.session; s != nil && strings.HasPrefix(s.nc.RemoteAddr().Network(), "tcp") {
		s.raw.Control(func(fd uintptr) { f, known = transport.FlowOfTCP(int(fd)) })
	}
	return f, known
}

// Stalled implements transport.Stalled. A connection stands once its handshake is over.
func (c *Conn) Stalled(d time.Duration) (stalled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.session
	if s == nil {
		return true
	}
	if strings.HasPrefix(s.nc.RemoteAddr().Network(), "tcp") {
		s.raw.Control(func(fd uintptr) { stalled = transport.StalledTCP(int(fd), 0, d) })
	}
	return stalled
}
