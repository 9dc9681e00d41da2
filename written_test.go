package cluster_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// What the adapters for Raft have written into memory that is used again arrives as it was written, as bytes, at one server, at all, and at oneself.
func TestWhatIsWrittenIntoMemoryThatIsUsedAgainArrivesAsItWasWritten(t *testing.T) {
	for _, scheme := range []string{"tcp", "mem"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := testcluster.Config(t, scheme, 3)
			var nodes []*cluster.Node
			for id := range 3 {
				nodes = append(nodes, testcluster.Join(t, id, cfg))
			}
			sizes := []int{8, 2000, 40 << 10, 100 << 10, 300 << 10}
			content := func(i int) []byte {
				b := bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])
				binary.LittleEndian.PutUint64(b, uint64(i))
				return b
			}
			const count = 300
			go func() { // It ends when all is sent, or the node has closed.
				for i := range count {
					w := &codec.Written{Size: sizes[i%len(sizes)], Append: func(b []byte) []byte { return append(b, content(i)...) }}
					for _, to := range []int{1, cluster.BROADCAST, 0, 2} {
						nodes[0].Send(t.Context(), &cluster.Envelope{Pid: to, Msg: w})
					}
				}
			}()
			for i := range count {
				for id, times := range []int{1, 2, 2} {
					for range times {
						e := testcluster.Take(t, nodes[id])
						if got, ok := e.Msg.([]byte); !ok || !bytes.Equal(got, content(i)) {
							t.Fatalf("message %d has not come to server %d as it was written", i, id)
						}
					}
				}
			}
		})
	}
}
