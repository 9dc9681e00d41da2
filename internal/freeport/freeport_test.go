package freeport

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// port is one that Listen gives.
func port(t *testing.T) int {
	t.Helper()
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAPortIsNotGivenAgainSoon(t *testing.T) {
	given := make(map[int]bool)
	for range blockPorts / 2 {
		p := port(t)
		if given[p] {
			t.Fatalf("port %d is given twice", p)
		}
		given[p] = true
	}
}

// One that tries the block of another first takes the next.
func TestEachProcessHasPortsOfItsOwn(t *testing.T) {
	const parents = "FREEPORT_OF_PARENT"
	if of := os.Getenv(parents); of != "" {
		block, err := strconv.Atoi(of)
		if err != nil {
			t.Fatal(err)
		}
		own.Lock()
		claim([]int{block, (block + 1) % blocks, (block + 2) % blocks, (block + 3) % blocks})
		own.Unlock()
		if p := port(t); (p-lowest)/blockPorts == block {
			t.Errorf("port %d is of another process", p)
		}
		return
	}
	port(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", parents, (own.first-lowest)/blockPorts))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
