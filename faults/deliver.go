//go:build linux

package main

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

func init() {
	register(row{
		name:    "deliver",
		promise: "between servers that live, whatever becomes of connections, Deliver returns nil, and its message was taken",
		fault:   "five servers send to one another by Deliver, from 16 goroutines each, and each 20 to 220 ms all connections to one of them are reset",
		run:     deliverUnderResets,
	}, row{
		name:    "deliver-kills",
		promise: "what Deliver returns is so: nil for what was taken, or was in Inbox when the process died; that nobody knows only where one was stopped or died; else an error for what was not taken",
		fault:   "the same, and each 4 s one of the servers is stopped (SIGSTOP), killed a while later, and started again",
		run:     deliverUnderKills,
	})
}

// delivering is what each of the servers does.
var delivering = load{Rate: 50, Size: 256, Streams: 16, Deliver: true}

// resetting resets all connections to one server now and then, until it is ended.
func resetting(f *field, random *rand.Rand) (end func() (resets int), err error) {
	proxies, err := f.behind(f.ids()...)
	if err != nil {
		return nil, err
	}
	var resets atomic.Int64
	halt, done := make(chan struct{}), make(chan struct{})
	go func() { // end ends it, and waits for it.
		defer close(done)
		for {
			select {
			case <-halt:
				return
			case <-time.After(time.Duration(20+random.IntN(200)) * time.Millisecond):
				proxies[random.IntN(len(proxies))].reset()
				resets.Add(1)
			}
		}
	}()
	end = func() int {
		close(halt)
		<-done
		return int(resets.Load())
	}
	return end, nil
}

func deliverUnderResets(t *trial) error {
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	end, err := resetting(f, rand.New(rand.NewPCG(t.seed, 2)))
	if err != nil {
		return err
	}
	err = f.startUnder(delivering)
	if err == nil {
		t.say("connections are reset, one server's at a time")
		length := scale(t, 20*time.Second, 3*time.Second)
		if t.long {
			length = 5 * time.Minute
		}
		_, err = t.sleep(length)
	}
	resets := end()
	if err != nil {
		return err
	}
	b, s, err := f.finishDelivering()
	if err != nil {
		return err
	}
	t.nothingLost(b)
	t.figure("connections reset", "%d times", resets)
	if s.unknown+s.not > 0 {
		t.fail(found(oracleDeliver, "all servers live, and Deliver says of %d messages that they were not delivered, and of %d that nobody knows", s.not, s.unknown))
	}
	if s.delivered < 1000 {
		t.fail(found(oracleVacuity, "%d messages were delivered", s.delivered))
	}
	return nil
}

func deliverUnderKills(t *trial) error {
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(t.seed, 3))
	end, err := resetting(f, rand.New(rand.NewPCG(t.seed, 4)))
	if err != nil {
		return err
	}
	kills := scale(t, 6, 2)
	if t.long {
		kills = 75
	}
	err = f.startUnder(delivering)
	for range kills {
		if err == nil {
			err = stopAndKill(f, random)
		}
	}
	end()
	if err != nil {
		return err
	}
	_, s, err := f.finishDelivering()
	if err != nil {
		return err
	}
	t.figure("kills", "%d", kills)
	if s.delivered < 1000 || s.unknown == 0 {
		t.fail(found(oracleVacuity, "%d messages were delivered, and of %d nobody knows", s.delivered, s.unknown))
	}
	return nil
}

// finishDelivering is finish, and also holds what Deliver said against the books.
func (f *field) finishDelivering() (*books, sayings, error) {
	b, err := f.finish()
	if err != nil {
		return nil, sayings{}, err
	}
	return b, f.t.told(b), nil
}

// stopAndKill stops one of the servers, kills it when others have found it to be down, or just before, and starts it again.
func stopAndKill(f *field, random *rand.Rand) error {
	if _, err := f.t.sleep(time.Second); err != nil {
		return err
	}
	victim := random.IntN(len(f.servers))
	f.t.say("server %d is stopped, killed and started again", victim)
	if err := f.stop(victim); err != nil {
		return err
	}
	if _, err := f.t.sleep(lateMost + time.Duration(500+random.IntN(2500))*time.Millisecond); err != nil {
		return err
	}
	f.kill(victim)
	if err := f.start(victim); err != nil {
		return err
	}
	return f.load(victim, delivering)
}

// What Deliver said of the messages of some books.
type sayings struct {
	delivered, unknown, not int
	takenAlong              int // delivered, to a process that was stopped or killed before its program could say so
}

// told holds what Deliver said against what was taken.
func (t *trial) told(b *books) sayings {
	s, vs := b.told()
	t.fail(vs...)
	t.figure("Deliver said", "delivered: %d (of which %d died with the process that had them), not delivered: %d, nobody knows: %d", s.delivered, s.takenAlong, s.not, s.unknown)
	return s
}

const (
	// moment is for how long a process that was stopped may go on, and by how much clocks differ.
	moment = int64(100 * time.Millisecond)
	// lateMost is how long after a server was stopped Deliver may return because of what that had sent before. Servers are killed later than
	// that: then it is certain that their messages have another fate.
	lateMost = time.Second
)

func (b *books) told() (s sayings, vs []violation) {
	taken := make(map[flow]*bits)
	b.deliveries(func(r *record) {
		if taken[r.flow()] == nil {
			taken[r.flow()] = new(bits)
		}
		taken[r.flow()].set(r.number)
	})
	for i := range b.lives {
		for j := range b.lives[i].sent {
			r := &b.lives[i].sent[j]
			was := taken[r.flow()].has(r.number)
			switch at := r.told &^ 3; r.told & 3 {
			case saidDelivered:
				s.delivered++
				switch {
				case was:
				case b.stoppedBetween(int(r.to), max(r.at-moment, at-int64(lateMost)), at+moment):
					s.takenAlong++
				default:
					vs = append(vs, found(oracleDeliver, "%v was not taken, though Deliver has returned nil", r))
				}
			case saidNot:
				if s.not++; was {
					vs = append(vs, found(oracleDeliver, "%v was taken, though Deliver has returned that it was certainly not delivered", r))
				}
			case saidUnknown:
				if s.unknown++; !b.stoppedBetween(int(r.to), r.at-int64(longest), at+moment) {
					vs = append(vs, found(oracleDeliver, "of %v nobody knows, though its receiver ran on", r))
				}
			}
		}
	}
	return s, few(vs)
}

// stoppedBetween reports whether a life of a server was stopped or killed then.
func (b *books) stoppedBetween(id int, from, to int64) bool {
	for _, l := range b.of(id) {
		if l.killed && l.stopped >= from && l.stopped <= to {
			return true
		}
	}
	return false
}
