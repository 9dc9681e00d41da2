//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// perform carries one row out, on the smaller scale.
func perform(t *testing.T, r row) result {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := options{quick: true, seed: 1, limit: time.Minute, dir: t.TempDir(), exe: exe, transport: mixed, report: func(line string) { t.Log(line) }}
	return carryOut(context.Background(), []row{r}, o).Results[0]
}

func rowNamed(t *testing.T, name string) row {
	t.Helper()
	chosen, err := choose(options{only: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	return chosen[0]
}

func TestARowHolds(t *testing.T) {
	if r := perform(t, rowNamed(t, "senders")); len(r.Found) > 0 || r.Skipped != "" || len(r.Figures) == 0 {
		t.Errorf("got %+v", r)
	}
}

func TestARowFailsInTheOracleThatItConcerns(t *testing.T) {
	for _, c := range []struct {
		name, want string
		run        func(*trial) error
	}{
		{"a server that ends by itself", oracleCrash, func(t *trial) error {
			f, err := t.newField(1, nil)
			if err != nil {
				return err
			}
			if err := f.start(0); err != nil {
				return err
			}
			f.life(0).proc.cmd.Process.Kill()
			return f.haltAll()
		}},
		{"a server that cannot start", oracleCrash, func(t *trial) error {
			f, err := t.newField(1, nil)
			if err != nil {
				return err
			}
			f.servers[0].arguments = []string{"-nonsense"}
			return f.start(0)
		}},
		{"a row that panics", oracleSetup, func(*trial) error { panic("no") }},
		{"a condition that never holds", oracleHang, func(t *trial) error {
			return t.await(10*time.Millisecond, "it", func() (bool, error) { return false, nil })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := perform(t, row{name: "broken", run: c.run})
			if len(r.Oracles) != 1 || r.Oracles[0] != c.want {
				t.Errorf("got %v, want %s", r.Found, c.want)
			}
		})
	}
}

func TestAJournalIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := createJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openChronicle(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, ok := c.counters(); ok {
		t.Error("there are counters in an empty journal")
	}
	for n := range uint64(5) {
		j.add(sent, record{from: 1, to: 2, number: n})
	}
	j.next.Add(1) // one that is not finished
	j.add(received, record{from: 2, to: 1, number: 9})
	for n := range 3 {
		if err := j.keep(counters{OutboxLen: n}); err != nil {
			t.Fatal(err)
		}
	}
	var numbers []uint64
	c.records(func(r *record) { numbers = append(numbers, r.number) })
	if len(numbers) != 6 || numbers[5] != 9 {
		t.Errorf("read %v", numbers)
	}
	if kept, ok := c.counters(); !ok || kept.OutboxLen != 2 {
		t.Errorf("the counters are %+v", kept)
	}
}

func TestAMessageSurvivesAndItsDamageIsSeen(t *testing.T) {
	m := message{from: 1, to: 2, life: 3, stream: 4, number: 5, at: 6}
	payload, sum := m.encode(2000)
	if got, s, err := decode(payload); err != nil || got != m || s != sum {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, i := range []int{0, 5, 20, 30, 1999} {
		payload[i] ^= 1
		if _, _, err := decode(payload); err == nil {
			t.Errorf("a change of byte %d was not seen", i)
		}
		payload[i] ^= 1
	}
	if _, _, err := decode(payload[:1999]); err == nil {
		t.Error("that it is cut short was not seen")
	}
}
