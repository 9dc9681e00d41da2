package etcd

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
)

// ID is the id in Raft of the server that has an id in the cluster: one more, as a server may have the id 0, and Raft
// means nobody by that. The ids of servers are from 0 to 65,535, so those of Raft are from 1 to 65,536.
func ID(pid int) uint64 { return uint64(pid) + 1 }

// Pid is the id in the cluster of the server that has an id in Raft: of the leader, for example, to send it a message. An
// id that is not one that ID makes is an error.
func Pid(id uint64) (int, error) {
	switch {
	case id == raft.None:
		return 0, fmt.Errorf("etcd: %d is no server's id in Raft: it means nobody", id)
	case id > math.MaxUint16+1:
		return 0, fmt.Errorf("etcd: %d is no server's id in Raft: those are from 1 to %d, the ids in the cluster and 1", id, math.MaxUint16+1)
	}
	return int(id - 1), nil
}
