//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "size",
		promise: "a message larger than MaxMessageBytes is refused by its sender, and by its receiver, and counted there",
		fault:   "messages of 100,000 bytes, where one server sends up to 200,000, and the other takes and sends up to 60,000",
		quick:   true,
		run:     sizes,
	})
}

func sizes(t *trial) error {
	const wide, narrow, size = 200_000, 60_000, 100_000
	f, err := t.newField(2, nil)
	if err != nil {
		return err
	}
	f.servers[0].cfg.MaxMessageBytes, f.servers[1].cfg.MaxMessageBytes = wide, narrow
	small := load{Rate: 100, Size: 50_000}
	if err := f.startUnder(small); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	t.say("messages that are too large")
	if err := f.loadAll(load{Rate: 100, Size: size}); err != nil {
		return err
	}
	if _, err := t.sleep(2 * time.Second); err != nil {
		return err
	}
	if err := f.loadAll(small); err != nil {
		return err
	}
	after, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.fail(b.traffic(50, nil, before, after)...)
	var vs []violation
	b.deliveries(func(r *record) {
		if r.size > narrow {
			vs = append(vs, found(oracleSize, "%v, of %d bytes, was delivered; %d may pass", r, r.size, narrow))
		}
	})
	t.fail(few(vs)...)
	large := [2]uint64{}
	for id := range large {
		for _, r := range b.of(id)[0].sent {
			if r.size > narrow {
				large[id]++
			}
		}
	}
	refused := b.of(1)[0].counters.Peers[0].Refused["too large"]
	dropped := b.of(1)[0].counters.Unaddressed["too large"]
	if refused != large[0] || dropped != large[1] {
		t.fail(found(oracleSize, "%d of %d were refused by the receiver, and %d of %d by the sender", refused, large[0], dropped, large[1]))
	}
	if min(large[0], large[1]) < 50 {
		t.fail(found(oracleVacuity, "only %d messages were too large", min(large[0], large[1])))
	}
	t.figure("refused", "%d by the receiver, %d by the sender", refused, dropped)
	return nil
}
