module github.com/abhishekg16/cluster/cmd/cluster

go 1.25.0

require (
	github.com/abhishekg16/cluster v0.0.0
	github.com/google/go-cmp v0.7.0
	github.com/urfave/cli/v3 v3.14.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/pebbe/zmq4 v1.4.0 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/abhishekg16/cluster => ../..
