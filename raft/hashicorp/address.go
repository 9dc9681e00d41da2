package hashicorp

import (
	"fmt"
	"math"
	"strconv"

	"github.com/hashicorp/raft"
)

// Address is the address in Raft's configuration of the server that has an id in the cluster.
func Address(pid int) raft.ServerAddress { return raft.ServerAddress(strconv.Itoa(pid)) }

// Pid is the id of the server that has an address in Raft's configuration: of the leader, for example, to send it a
// message. An address that is not one that Address makes is an error.
func Pid(addr raft.ServerAddress) (int, error) {
	pid, err := strconv.ParseUint(string(addr), 10, 16)
	if err != nil || string(Address(int(pid))) != string(addr) {
		return 0, fmt.Errorf("hashicorp: the address %.40q is not the id of a server, from 0 to %d", addr, math.MaxUint16)
	}
	return int(pid), nil
}
