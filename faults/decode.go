//go:build linux

package main

import (
	"encoding/binary"
	"time"

	"github.com/abhishekg16/cluster"
)

// slowTime is how long a slowly decoded message takes.
const slowTime = 10 * time.Second

// slowly is a message that its receiver's program takes a while to decode.
type slowly struct {
	takes   time.Duration
	payload []byte
}

func (s slowly) MarshalBinary() ([]byte, error) {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(s.takes)), s.payload...), nil
}

func (s *slowly) UnmarshalBinary(b []byte) error {
	if len(b) < 8 {
		return errCorrupt
	}
	s.takes, s.payload = time.Duration(binary.LittleEndian.Uint64(b)), append([]byte{}, b[8:]...)
	time.Sleep(s.takes)
	return nil
}

func init() {
	cluster.Register("faults.slowly", slowly{})
	register(row{
		name:    "decode",
		promise: "nothing is dropped, and who does not send to that server, or sends it something else, loses no time; what comes behind the slow message waits for it",
		fault:   "the program of one of five servers takes 10 s to decode one message, under load",
		run:     decodeSlowly,
	})
}

func decodeSlowly(t *trial) error {
	const sender, busy = 0, 1
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	if err := f.startUnder(load{Rate: 200, Size: 1000}); err != nil {
		return err
	}
	before, err := t.calm(5 * time.Second)
	if err != nil {
		return err
	}
	t.say("server %d decodes a message of server %d", busy, sender)
	during := span{from: now()}
	if _, err := f.ask(sender, command{Do: "slow", To: busy}); err != nil {
		return err
	}
	if _, err := t.sleep(slowTime - time.Second); err != nil {
		return err
	}
	during.to = now()
	after, err := t.sleep(4 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	others := func(r *record) bool { return int(r.from) != sender || int(r.to) != busy }
	ratio, v := b.keptRate(before, during, others)
	t.failIf(v)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	t.allDelivered(b)
	// What came behind the slow message was not delivered before it.
	behind := 0
	b.deliveries(func(r *record) {
		if int(r.from) == sender && int(r.to) == busy && r.at > during.from+int64(time.Second) && r.at < during.to {
			behind++
		}
	})
	if behind > 0 {
		t.fail(found(oracleVacuity, "%d messages from %d to %d came while the slow one before them was decoded", behind, sender, busy))
	}
	t.fail(b.traffic(1000, others, before, during, after)...)
	return nil
}
