// The second program of the specification, as it is written there.
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
	for {
		select {
		case envelope := <-server.Inbox():
			fmt.Printf("Received msg from %d: '%s'\n", envelope.Pid, envelope.Msg)
		case <-time.After(20 * time.Second):
			println("Waited and waited. Ab thak gaya\n")
		}
	}
}
