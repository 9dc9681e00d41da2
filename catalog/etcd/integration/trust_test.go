package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/catalog/etcd"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// An authority signs certificates, whose files are in dir.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and a key, and the files NAME.pem and NAME.key. The first is signed by itself.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// config is that of a client that knows the authority, and has the certificate with this name, if any.
func (a *authority) config(name string) *tls.Config {
	a.t.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	cfg.RootCAs.AddCert(a.cert)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

func TestAStoreWorksOverTLSForWhoHasACertificate(t *testing.T) {
	a := newAuthority(t)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	a.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: usage})
	a.sign("client", &x509.Certificate{ExtKeyUsage: usage})
	s := newServer(t, func(cfg *embed.Config) {
		cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = a.path("server.pem"), a.path("server.key")
		cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = a.path("ca.pem"), true
	})
	connect := func(cfg *tls.Config) *etcd.Store {
		return store(t, dial(t, clientv3.Config{Endpoints: []string{"https://" + s.address}, TLS: cfg}), "demo", etcd.Options{Timeout: 2 * time.Second})
	}
	known := connect(a.config("client"))
	id := join(t, known, peercatalog.Peer{Address: testcluster.Addresses(t, "mem", 1)[0]})
	n := testcluster.Join(t, id, cluster.Config{Source: known})
	join(t, known, at(1))
	equal(t, []*cluster.Node{n}, load(t, known))
	for name, cfg := range map[string]*tls.Config{
		"without a certificate":        a.config(""),
		"who does not know the server": {MinVersion: tls.VersionTLS12},
	} {
		if peers, err := connect(cfg).Load(within(t)); err == nil {
			t.Errorf("%s: Load has returned %v", name, peers)
		}
	}
}

func TestWhoMayOnlyReadFollowsAndChangesNothing(t *testing.T) {
	s := newServer(t, nil)
	root := s.client()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := within(t)
	const dir = "/cluster/demo/"
	end := clientv3.GetPrefixRangeEnd(dir)
	grant := func(user string, may clientv3.PermissionType) {
		must(root.RoleAdd(ctx, user))
		must(root.RoleGrantPermission(ctx, user, dir, end, may))
		must(root.UserAdd(ctx, user, "secret of "+user))
		must(root.UserGrantRole(ctx, user, user))
	}
	must(root.RoleAdd(ctx, "root"))
	must(root.UserAdd(ctx, "root", "secret of root"))
	must(root.UserGrantRole(ctx, "root", "root"))
	grant("reader", clientv3.PermissionType(clientv3.PermRead))
	grant("writer", clientv3.PermissionType(clientv3.PermReadWrite))
	must(root.AuthEnable(ctx))
	as := func(user, cluster string) *etcd.Store {
		return store(t, dial(t, clientv3.Config{Endpoints: []string{s.address}, Username: user, Password: "secret of " + user}), cluster, etcd.Options{})
	}
	writer, reader := as("writer", "demo"), as("reader", "demo")
	id := join(t, writer, peercatalog.Peer{Address: testcluster.Addresses(t, "mem", 1)[0]})
	n := testcluster.Join(t, id, cluster.Config{Source: reader})
	join(t, writer, at(1))
	if err := writer.Leave(within(t), 1); err != nil {
		t.Error(err)
	}
	join(t, writer, at(2))
	equal(t, []*cluster.Node{n}, load(t, reader))
	for name, change := range map[string]func() error{
		"Join": func() error { _, err := reader.Join(within(t), at(3)); return err },
		"Update": func() error {
			return reader.Update(within(t), id, func(p *peercatalog.Peer) error { p.Bind = "mem://x"; return nil })
		},
		"Leave":                   func() error { return reader.Leave(within(t), id) },
		"Join of another cluster": func() error { _, err := as("writer", "other").Join(within(t), at(3)); return err },
	} {
		if err := change(); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s by who may not: %v", name, err)
		}
	}
	if _, err := store(t, s.client(), "demo", etcd.Options{}).Load(within(t)); err == nil {
		t.Error("who does not say who he is may read")
	}
}
