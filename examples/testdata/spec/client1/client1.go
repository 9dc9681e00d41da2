// The first program of the specification, as it is written there.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	. "github.com/abhishekg16/cluster"
)

func main() {
	var f int
	flag.IntVar(&f, "id", -1, "enter pid")
	flag.Parse()
	if f == -1 {
		fmt.Println("Invalid Arguments")
		os.Exit(1)
	}
	server, err := New(f, "../../Config.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := 1; i < 10; i++ {
		server.Outbox() <- &Envelope{BROADCAST, 0, "hello there"}
		time.Sleep(1 * time.Second)
	}
}
