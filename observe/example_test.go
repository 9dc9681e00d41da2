package observe_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
	"github.com/abhishekg16/cluster/peercatalog"
)

func ExampleHandler() {
	server, err := cluster.NewFromConfig(0, cluster.Config{Peers: []peercatalog.Peer{
		{ID: 0, Address: "mem://example/0"},
		{ID: 1, Address: "mem://example/1"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	// A program would use http.ListenAndServe("127.0.0.1:9090", …) instead.
	web := httptest.NewServer(observe.Handler(server, observe.Options{Quorum: true}))
	defer web.Close()
	for _, path := range []string{"/livez", "/readyz"} {
		answer, err := http.Get(web.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Printf("%s: %d %s", path, answer.StatusCode, text)
	}
	// Output:
	// /livez: 200 ok
	// /readyz: 503 no quorum: 1 of 2 servers are up, and 2 are a majority
}
