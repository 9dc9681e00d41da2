package etcd_test

import (
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster/catalog/etcd"
)

func TestAStoreIsNamedByItsPlace(t *testing.T) {
	client := clientv3.NewCtxClient(t.Context())
	defer client.Close()
	for _, c := range []struct{ cluster, prefix, want string }{
		{"demo", "", "etcd /cluster/demo"},
		{"demo", "/apps/one", "etcd /apps/one/demo"},
		{"demo", "apps//", "etcd apps/demo"},
		{"a b.c", "", "etcd /cluster/a b.c"},
	} {
		s, err := etcd.New(client, c.cluster, etcd.Options{Prefix: c.prefix})
		if err != nil {
			t.Errorf("%q below %q: %v", c.cluster, c.prefix, err)
			continue
		}
		if got := s.String(); got != c.want {
			t.Errorf("%q below %q is %q, want %q", c.cluster, c.prefix, got, c.want)
		}
	}
}

func TestUnusableOptionsAreRefusedAllAtOnce(t *testing.T) {
	client := clientv3.NewCtxClient(t.Context())
	defer client.Close()
	for _, c := range []struct {
		name    string
		client  *clientv3.Client
		cluster string
		opts    etcd.Options
		want    []string
	}{
		{"no client", nil, "demo", etcd.Options{}, []string{"the client is nil"}},
		{"no name", client, "", etcd.Options{}, []string{`the name of the cluster is ""`}},
		{"a path as the name", client, "a/b", etcd.Options{}, []string{`the name of the cluster is "a/b"`}},
		{"a control character", client, "a\x00", etcd.Options{}, []string{`the name of the cluster is "a\x00"`}},
		{"a prefix of slashes", client, "demo", etcd.Options{Prefix: "//"}, []string{`the prefix is "//"`}},
		{"a timeout that is none", client, "demo", etcd.Options{Timeout: -time.Second}, []string{"the timeout is -1s"}},
		{"several", nil, "", etcd.Options{Prefix: "/", Timeout: -1}, []string{"the client is nil", "the name of the cluster", "the prefix", "the timeout"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := etcd.New(c.client, c.cluster, c.opts)
			if err == nil {
				t.Fatal("there is no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}
