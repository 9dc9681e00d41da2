package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// grpcPeer is one stream in both directions, opened by the second server to the first.
var grpcPeer = peer{name: "gRPC stream", base: bare.name, join: func(me int, at []string) end {
	stream := sync.OnceValue(accepted(me, at[0]))
	return end{
		send: func(_ int, b []byte) { check(stream().SendMsg(&b)) },
		receive: func() (b []byte) {
			check(stream().RecvMsg(&b))
			return b
		},
	}
}}

type messageStream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

const (
	grpcService = "bench.Messages"
	grpcMethod  = "Exchange"
	grpcLargest = 8 << 20 // bytes of a message; the default is 4 MiB
)

// accepted returns a function that waits for the stream between two servers.
func accepted(me int, address string) func() messageStream {
	description := grpc.StreamDesc{StreamName: grpcMethod, ServerStreams: true, ClientStreams: true}
	if me != 0 {
		return func() messageStream {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultCallOptions(grpc.CallContentSubtype(rawBytes{}.Name()),
					grpc.MaxCallRecvMsgSize(grpcLargest), grpc.WaitForReady(true)))
			check(err)
			s, err := conn.NewStream(context.Background(), &description, "/"+grpcService+"/"+grpcMethod)
			check(err)
			return s
		}
	}
	streams := make(chan messageStream)
	description.Handler = func(_ any, s grpc.ServerStream) error {
		streams <- s
		<-s.Context().Done()
		return nil
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(grpcLargest))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: grpcService,
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{description},
	}, struct{}{})
	l, err := net.Listen("tcp", address)
	check(err)
	go func() { check(server.Serve(l)) }() // It runs until the process is ended.
	return func() messageStream { return <-streams }
}

// rawBytes is a codec for messages that are bytes already.
type rawBytes struct{}

func init() { encoding.RegisterCodecV2(rawBytes{}) }

// Name implements encoding.CodecV2.
func (rawBytes) Name() string { return "raw" }

// Marshal implements encoding.CodecV2.
func (rawBytes) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (rawBytes) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not bytes", v)
	}
	*b = data.Materialize()
	return nil
}
