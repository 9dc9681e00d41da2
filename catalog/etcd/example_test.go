package etcd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/catalog/etcd"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A server takes an id the first time that it runs, and finds it by its address later. It follows what is in
// etcd until it is interrupted.
func Example() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{"https://etcd-0:2379", "https://etcd-1:2379", "https://etcd-2:2379"},
		DialTimeout: 5 * time.Second,
		// TLS, Username and Password say to whom to talk, and who is there.
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	servers, err := etcd.New(client, "demo", etcd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	id, err := identify(ctx, servers, "10.0.0.5:8081")
	if err != nil {
		log.Fatal(err)
	}
	node, err := cluster.NewFromConfig(id, cluster.Config{Cluster: "demo", Source: servers})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	for {
		env, err := node.Receive(ctx)
		if err != nil {
			return
		}
		fmt.Println(env.Pid, "says", env.Msg)
	}
}

// identify returns the id of the server at this address, which it joins if it has none.
func identify(ctx context.Context, servers *etcd.Store, address string) (int, error) {
	peers, err := servers.Load(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range peers {
		if p.Address == address {
			return p.ID, nil
		}
	}
	return servers.Join(ctx, peercatalog.Peer{Address: address})
}
