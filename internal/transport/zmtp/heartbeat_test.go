package zmtp

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A simulation plays a connection from a virtual clock.
type simulation struct {
	minor   byte
	answers time.Duration // when the peer stops answering; 0: at once
	dies    time.Duration // when its kernel stops acknowledging; 0: never
	rate    int64         // bytes that its kernel takes in a second
	backlog int64         // bytes that are written at the beginning
	stopped time.Duration // this process is stopped then, for ten seconds; 0: never
}

// run returns when the connection is left, or -1 if it stands after a minute.
func (m simulation) run() time.Duration {
	start := time.Unix(0, 0)
	h := newHeartbeat(start, m.minor)
	written, acked := m.backlog, int64(0)
	stopped := false
	for now := time.Duration(0); now < time.Minute; now += 10 * time.Millisecond {
		if m.stopped > 0 && now >= m.stopped && !stopped {
			stopped = true
			now += 10 * time.Second
		}
		if m.dies == 0 || now < m.dies {
			acked = min(written, acked+m.rate/100)
		}
		if h.waits && acked >= h.asked && now < m.answers {
			h.answered()
			h.heard(start.Add(now))
		}
		b := h.look(start.Add(now), written, acked)
		if b.leave {
			return now
		}
		if b.ping {
			written += 9
			h.pinged(written)
		}
	}
	return -1
}

func TestAPeerIsLeftIfItAndItsKernelAreSilent(t *testing.T) {
	const never, fast = -1, 1 << 30
	for name, c := range map[string]struct {
		simulation
		from, to time.Duration
	}{
		"it answers":                       {simulation{minor: 1, answers: time.Hour, rate: fast}, never, never},
		"it never answers":                 {simulation{minor: 1, rate: fast}, 3900 * time.Millisecond, 4100 * time.Millisecond},
		"it stops answering":               {simulation{minor: 1, answers: 10 * time.Second, rate: fast}, 11 * time.Second, 15 * time.Second},
		"its machine is gone":              {simulation{minor: 1, answers: 10 * time.Second, dies: 10 * time.Second, rate: fast}, 11 * time.Second, 15 * time.Second},
		"much is before the heartbeat":     {simulation{minor: 1, answers: time.Hour, rate: 50_000, backlog: 1_000_000}, never, never},
		"it ends behind much":              {simulation{minor: 1, rate: 50_000, backlog: 1_000_000}, 23 * time.Second, 25 * time.Second},
		"it stops taking":                  {simulation{minor: 1, answers: time.Hour, rate: 50_000, backlog: 1_000_000, dies: 5 * time.Second}, 8900 * time.Millisecond, 9200 * time.Millisecond},
		"3.0, and it never answers":        {simulation{rate: fast}, never, never},
		"3.0, and it stops answering":      {simulation{answers: 10 * time.Second, rate: fast}, 11 * time.Second, 15 * time.Second},
		"3.0, and its machine is gone":     {simulation{dies: 10 * time.Second, rate: fast}, 13 * time.Second, 16 * time.Second},
		"we were stopped and it was there": {simulation{minor: 1, answers: time.Hour, rate: fast, stopped: 10 * time.Second}, never, never},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.run(); got < c.from || got > c.to {
				t.Errorf("it was left after %v, want %v to %v", got, c.from, c.to)
			}
		})
	}
}

func TestAnIdleConnectionIsLookedAtOnceAnInterval(t *testing.T) {
	start := time.Unix(0, 0)
	h := newHeartbeat(start, 1)
	looks := 0
	for now := start; now.Before(start.Add(time.Minute)); looks++ {
		b := h.look(now, 0, 0)
		if b.ping {
			h.pinged(0)
			h.heard(now)
		}
		if !b.until.After(now) {
			t.Fatalf("at %v it is to be looked at by %v", now, b.until)
		}
		now = b.until
	}
	if most := int(time.Minute/transport.HeartbeatInterval) + 1; looks > most {
		t.Errorf("%d looks in a minute, want %d at most", looks, most)
	}
}
