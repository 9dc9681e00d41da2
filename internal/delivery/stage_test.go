package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// item is what these tests deliver.
type item struct {
	from int
	id   int64
	msg  any
}

// An ownForm is a message whose decoding is the program's: what it does is in its first byte.
type ownForm []byte

const (
	formGood byte = iota
	formGoexit
	formPanic
	formError
	formWaits // until gate is closed
)

// gate holds back the decoding of formWaits.
var gate struct {
	sync.Mutex
	open chan struct{}
}

func setGate() (open chan struct{}) {
	gate.Lock()
	defer gate.Unlock()
	gate.open = make(chan struct{})
	return gate.open
}

func (f ownForm) MarshalBinary() ([]byte, error) { return f, nil }

func (f *ownForm) UnmarshalBinary(b []byte) error {
	*f = slices.Clone(b)
	switch b[0] {
	case formGoexit:
		runtime.Goexit()
	case formPanic:
		panic("formPanic")
	case formError:
		return errors.New("formError")
	case formWaits:
		gate.Lock()
		open := gate.open
		gate.Unlock()
		<-open
	}
	return nil
}

// A bulky value takes 4 KiB, and a byte on the wire if it has no fields there. It is not quick to decode.
type bulky struct{ A [512]int64 }

// A costly message is of so many bulky values.
type costly uint8

func (n costly) payload() ([]byte, codec.Kind, error) { return items([]bulky{}, int(n)) }

// A roomy value takes nearly 1 KiB, and a byte on the wire if it has no fields there. It is quick to decode.
type roomy struct{ A [100]int64 }

// A spread message is of so many roomy values.
type spread uint8

func (n spread) payload() ([]byte, codec.Kind, error) { return items([]roomy{}, int(n)) }

// items is the payload of a slice of so many structs, of which no field is on the wire, like the empty one.
func items(empty any, n int) ([]byte, codec.Kind, error) {
	payload, kind, err := codec.Append(nil, empty, codec.Limits{})
	payload = append(payload[:len(payload)-1], 0x98, byte(n))           // an array of n items
	return append(payload, bytes.Repeat([]byte{0xA0}, n)...), kind, err // maps without entries
}

type (
	small  struct{ A int8 }
	holder struct{ Any any }
)

func init() {
	codec.Register("delivery.ownForm", ownForm{})
	codec.Register("delivery.small", small{})
	codec.Register("delivery.holder", holder{})
	codec.Register("delivery.bulky", bulky{})
	codec.Register("delivery.roomy", roomy{})
}

// records makes a delivery of messages, which are numbered from first on.
func records(t testing.TB, first int64, msgs ...any) *stream.Delivery {
	t.Helper()
	d := &stream.Delivery{Count: len(msgs)}
	for i, m := range msgs {
		payload, kind, err := []byte{0xFF, 0xFF, 0}, codec.Typed, error(nil)
		if p, ok := m.(interface {
			payload() ([]byte, codec.Kind, error)
		}); ok {
			payload, kind, err = p.payload()
		} else if m != undecodable {
			payload, kind, err = codec.Append(nil, m, codec.Limits{})
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Body = append(wire.AppendRecordHeader(d.Body, first+int64(i), uint8(kind), len(payload)), payload...)
	}
	d.Bytes = wire.HeaderSize + len(d.Body)
	return d
}

// undecodable stands for a payload that cannot be decoded.
var undecodable any = new(struct{ _ int })

// An account is an owner that counts.
type account struct {
	mu      sync.Mutex
	records int // dealt with
	gone    int // deliveries
	refused [stream.Refusals]uint64
	taking  []time.Time
	named   []fault
}

func (a *account) Taken(_ stream.Place, records, left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.records += records; left == 0 {
		a.gone++
	}
}

func (a *account) Refused(r stream.Refusal, count uint64, _ error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[r] += count
}

func (a *account) Undelivered(_ stream.Place, number uint64, why stream.Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.named = append(a.named, fault{number, why})
}

func (a *account) Taking() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taking = append(a.taking, time.Now())
}

func (a *account) told() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.taking)
}

func (a *account) refusals(r stream.Refusal) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused[r]
}

func goOn() bool { return true }

// newStage makes a stage with room for so many messages, which a test in a bubble closes.
func newStage(room, maxMessage, maxBytes int) *Stage[item] {
	return New(Config[item]{
		Out:        make(chan *item, room),
		Fill:       func(e *item, from int, id int64, msg any) { *e = item{from, id, msg} },
		MaxMessage: maxMessage,
		MaxBytes:   maxBytes,
		Woke:       func() {},
	})
}

// end halts and closes the stage.
func end(st *Stage[item]) {
	st.Halt()
	st.Close()
}

// whole checks that nothing of the budgets is taken.
func whole(t *testing.T, st *Stage[item], maxMessage, maxBytes int) {
	t.Helper()
	want := newBudgets(maxMessage, maxBytes)
	for i := range want.classes {
		if got := st.budgets.classes[i].free; got != want.classes[i].free {
			t.Errorf("%d bytes of class %d are free, want %d", got, i, want.classes[i].free)
		}
	}
}

// ids takes what is in the channel, and returns its message ids by sender.
func ids(st *Stage[item]) map[int][]int64 {
	all := make(map[int][]int64)
	for {
		synctest.Wait()
		select {
		case e := <-st.cfg.Out:
			all[e.from] = append(all[e.from], e.id)
			continue
		case <-time.After(time.Second): // it polls where bytes are what there is no room for
		}
		if len(st.cfg.Out) == 0 {
			return all
		}
	}
}

func TestEachSendersMessagesStayInOrderAndAreCountedOnce(t *testing.T) {
	kinds := []any{
		int64(1), "text", make([]byte, 200), small{1}, []small{{1}, {2}}, holder{int64(1)}, ownForm{formGood}, ownForm(make([]byte, 3000)),
		ownForm{formGoexit}, ownForm{formPanic}, ownForm{formError}, undecodable, make([]byte, 3<<10), costly(200),
	}
	const maxMessage, maxBytes = 64 << 10, 32 << 10
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 0))
				st := newStage(1+rng.IntN(40), maxMessage, maxBytes)
				const senders = 3
				var owners [senders]account
				var put, deliveries [senders]int
				var good [senders][]int64
				var queues [senders]*Queue[item]
				for i := range queues {
					queues[i] = st.Queue(i, &owners[i])
				}
				got := make(map[int][]int64)
				take := func() {
					for from, more := range ids(st) {
						got[from] = append(got[from], more...)
					}
				}
				for range 60 {
					i := rng.IntN(senders)
					var msgs []any
					for range rng.IntN(30) {
						m := kinds[rng.IntN(len(kinds))]
						if f, own := m.(ownForm); m != undecodable && (!own || f[0] == formGood) {
							good[i] = append(good[i], int64(put[i]+len(msgs)+1))
						}
						msgs = append(msgs, m)
					}
					most := rng.IntN(20)
					queues[i].Put(records(t, int64(put[i]+1), msgs...), func() bool { most--; return most > 0 })
					put[i] += len(msgs)
					deliveries[i]++
					if rng.IntN(8) == 0 {
						take()
					}
				}
				take()
				for i := range senders {
					if diff := cmp.Diff(good[i], got[i]); diff != "" {
						t.Errorf("sender %d (-sent +came):\n%s", i, diff)
					}
					refused := int(owners[i].refusals(stream.RefusedUndecodable))
					if n := int(queues[i].Books().Received); n != len(good[i]) || n+refused != put[i] {
						t.Errorf("sender %d: %d received and %d refused, of %d and %d", i, n, refused, len(good[i]), put[i])
					}
					if o := &owners[i]; o.records != put[i] || o.gone != deliveries[i] {
						t.Errorf("sender %d: %d records of %d deliveries are dealt with, of %d and %d", i, o.records, o.gone, put[i], deliveries[i])
					}
				}
				whole(t, st, maxMessage, maxBytes)
				end(st)
			})
		})
	}
}

func TestWhatAProgramsMethodDoesKeepsNothing(t *testing.T) {
	const maxMessage, maxBytes = 64 << 10, 32 << 10
	for _, c := range []struct {
		name string
		form byte
		want uint64
	}{
		{"it returns", formGood, 0},
		{"it ends the goroutine", formGoexit, 1},
		{"it panics", formPanic, 1},
		{"it returns an error", formError, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, o := newStage(100, maxMessage, maxBytes), &account{}
				q := st.Queue(1, o)
				q.Put(records(t, 1, ownForm{formGood}, ownForm{c.form}, ownForm{c.form}), goOn)
				synctest.Wait()
				if got := o.refusals(stream.RefusedUndecodable); got != 2*c.want || o.gone != 1 {
					t.Errorf("%d are refused, want %d; %d deliveries are dealt with, want 1", got, 2*c.want, o.gone)
				}
				if q.current.rest != nil || q.current.store != nil || q.current.Buffer != nil {
					t.Error("the queue keeps the memory of what it has delivered")
				}
				ids(st)
				whole(t, st, maxMessage, maxBytes)
				end(st)
			})
		})
	}
}

func TestAMessageThatCostsMoreThanItsReservationWaitsForNothingOfItsOwn(t *testing.T) {
	const maxMessage, maxBytes = 64 << 10, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		st, o := newStage(100, maxMessage, maxBytes), &account{}
		q := st.Queue(1, o)
		q.Put(records(t, 1, costly(200), costly(200), costly(200)), goOn)
		if got := ids(st); !slices.Equal(got[1], []int64{1, 2, 3}) {
			t.Errorf("messages %v come, and %d are left", got[1], q.Left())
		}
		whole(t, st, maxMessage, maxBytes)
		end(st)
	})
}

func TestAStageEndsWhileQueuesWaitForItsBudgets(t *testing.T) {
	const maxMessage, maxBytes = 64 << 10, 256 << 10
	for _, c := range []struct {
		name string
		msg  any
	}{
		{"for a reservation", ownForm(make([]byte, 24<<10))},
		{"for more than a reservation", costly(100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(1, maxMessage, maxBytes)
				st.cfg.Out <- new(item) // nobody takes
				var queues []*Queue[item]
				for i := range 8 {
					q := st.Queue(i, new(account))
					queues = append(queues, q)
					q.Put(records(t, 1, c.msg, c.msg, c.msg), goOn)
				}
				synctest.Wait()
				waiting := 0
				for i := range st.budgets.classes {
					waiting += len(st.budgets.classes[i].waiting)
				}
				if waiting == 0 {
					t.Fatal("nobody waits for a budget")
				}
				end(st)
				for _, q := range queues {
					if q.Left() != 3 || q.Books() != (Books{}) {
						t.Errorf("%d are left, and the books are %v; want 3, and nothing", q.Left(), q.Books())
					}
				}
			})
		})
	}
}

func TestWhatWasLeftWhenAStageEndsIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, o := newStage(3, 1<<20, 1<<20), &account{}
		q := st.Queue(1, o)
		const each, times = 20, 5
		for i := range times {
			q.Put(records(t, int64(1+i*each), slices.Repeat([]any{holder{int64(1)}, int64(2)}, each/2)...), goOn)
		}
		synctest.Wait()
		end(st)
		if left, received := q.Left(), q.Books().Received; left+int(received) != each*times || received != 3 {
			t.Errorf("%d are left and %d received, of %d", left, received, each*times)
		}
		for range st.cfg.Out {
		}
	})
}

func TestSendersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(1, 1<<20, 1<<20)
		const senders, each = 4, 200
		for i := range senders {
			st.Queue(i, new(account)).Put(records(t, 1, slices.Repeat([]any{int64(1)}, each)...), goOn)
		}
		var counts [senders]int
		for range senders * 10 * (readyMost + 1) {
			synctest.Wait()
			counts[(<-st.cfg.Out).from]++
		}
		for i, n := range counts {
			if n < 5*readyMost {
				t.Errorf("of sender %d come %d of %v", i, n, counts)
			}
		}
		end(st)
	})
}

func TestWhoseMessageIsBeingDecodedIsToldForHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := setGate()
		st, slow, other := newStage(100, 64<<10, 32<<10), &account{}, &account{}
		st.Queue(1, slow).Put(records(t, 1, ownForm{formWaits}), goOn)
		q := st.Queue(2, other)
		began := time.Now()
		q.Put(records(t, 1, int64(1)), goOn)
		time.Sleep(2 * decodingMost)
		told := slow.told()
		if len(told) < int(decodingMost/reportInterval)*9/10 || told[len(told)-1].Sub(began) > decodingMost {
			t.Errorf("it is told %d times", len(told))
		}
		if n := len(other.told()); n != 0 {
			t.Errorf("who waits for nothing is told %d times", n)
		}
		close(open)
		end(st)
	})
}

func TestNobodyIsToldBecauseTheChannelIsFull(t *testing.T) {
	for _, c := range []struct {
		name   string
		beside any // what another sender sends all the while
	}{
		{"and nothing else comes", nil},
		{"and what comes cannot be decoded", undecodable},
		{"and what comes is not taken by the program's method", ownForm{formError}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, o := newStage(1, 64<<10, 32<<10), &account{}
				st.Queue(1, o).Put(records(t, 1, int64(1), int64(2), holder{int64(3)}), goOn)
				beside := st.Queue(2, &account{})
				for i := range 50 {
					if time.Sleep(reportInterval); c.beside != nil {
						beside.Put(records(t, int64(i+1), c.beside), goOn)
					}
				}
				if n := len(o.told()); n != 0 {
					t.Errorf("it is told %d times that the program takes", n)
				}
				<-st.cfg.Out
				time.Sleep(2 * reportInterval)
				if n := len(o.told()); n == 0 {
					t.Error("it is not told when the program takes")
				}
				end(st)
			})
		})
	}
}

func TestTheChannelHoldsNoMoreThanItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxBytes, size = 256 << 10, 50 << 10
		st := newStage(100, 1<<20, maxBytes)
		st.Queue(1, new(account)).Put(records(t, 1, slices.Repeat([]any{make([]byte, size)}, 20)...), goOn)
		for range 10 {
			time.Sleep(time.Second)
			if n := len(st.cfg.Out); n == 0 || n*size > maxBytes {
				t.Errorf("%d messages are in the channel", n)
			}
			<-st.cfg.Out
		}
		end(st)
	})
}

func TestLittleIsReadyOfASenderWhoseMessagesAreQuickToDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(1, 1<<20, 1<<20)
		st.cfg.Out <- new(item) // nobody takes
		q := st.Queue(1, new(account))
		if payload, kind, err := spread(200).payload(); err != nil {
			t.Fatal(err)
		} else if _, _, err := codec.Decode(kind, payload, false, codec.Limits{}, q.types); err != nil || !codec.Quick(kind, payload) {
			t.Fatalf("it is not quick to decode, or cannot be: %v", err)
		}
		q.Put(records(t, 1, slices.Repeat([]any{spread(200)}, 10)...), goOn)
		synctest.Wait()
		if n := len(q.current.ready); n != 1 {
			t.Errorf("%d messages of 160 KiB are decoded, and none has room", n)
		}
		end(st)
	})
}

func TestSmallMessagesArriveAsTheyAreAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10
		msgs := []any{
			"text", []byte("bytes"), "", []byte{}, make([]byte, most), make([]byte, most+1), "as large", "is too large",
			int64(1), "after a number", nil, true, []byte(nil), small{1}, "last", undecodable, []byte("the very last"),
		}
		st := newStage(len(msgs), most, 1<<20)
		a := new(account)
		st.Queue(1, a).Put(records(t, 1, msgs...), goOn)
		synctest.Wait()
		end(st)
		var got, want []item
		for e := range st.cfg.Out {
			got = append(got, *e)
		}
		large := uint64(0)
		for i, m := range msgs {
			payload, _, err := codec.Append(nil, m, codec.Limits{})
			switch {
			case m == undecodable:
			case err != nil:
				t.Fatal(err)
			case len(payload) > most:
				large++
			default:
				want = append(want, item{1, int64(1 + i), m})
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(item{})); diff != "" {
			t.Errorf("sent (-) and received (+):\n%s", diff)
		}
		if n, rest := a.refusals(stream.RefusedTooLarge), a.refusals(stream.RefusedUndecodable); n != large || rest != 1 {
			t.Errorf("%d are too large and %d cannot be decoded, want %d and 1", n, rest, large)
		}
	})
}
