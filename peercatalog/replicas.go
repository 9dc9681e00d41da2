package peercatalog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// idInAddress is what stands for the id in the address of Replicas.
const idInAddress = "{id}"

// Replicas returns the peers 0 to n-1, whose addresses differ in their ids alone: {id} stands for the id in
// address, as in demo-{id}.demo:8081, which names the pods of a StatefulSet demo and a service demo. Bind is where
// each listens; it may have {id} in it, or be empty. The error says what is wrong with the arguments.
func Replicas(n int, address, bind string) ([]Peer, error) {
	var faults []error
	if n < 1 || n > MaxID+1 {
		faults = append(faults, fmt.Errorf("%d replicas: want 1 to %d", n, MaxID+1))
	}
	if !strings.Contains(address, idInAddress) {
		faults = append(faults, fmt.Errorf("the address %.120q of the replicas: want one with %s where the id is, for example demo-%s.demo:8081", address, idInAddress, idInAddress))
	} else if err := replica(0, address, bind).Validate(); err != nil {
		faults = append(faults, fmt.Errorf("the replicas: %w", err))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	peers := make([]Peer, n)
	for id := range peers {
		peers[id] = replica(id, address, bind)
	}
	return peers, nil
}

func replica(id int, address, bind string) Peer {
	number := strconv.Itoa(id)
	return Peer{ID: id, Address: strings.ReplaceAll(address, idInAddress, number), Bind: strings.ReplaceAll(bind, idInAddress, number)}
}
