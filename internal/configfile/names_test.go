package configfile

import (
	"strings"
	"testing"
)

func TestFieldsThatLookLikeAMisspelling(t *testing.T) {
	for ours, misses := range map[string][]string{
		"cluster":         {"clusters", "cluser", "custer", "clutser"},
		"peers":           {"peer", "peeers", "pers", "pears", "peesr", "_peers"},
		"inboxSize":       {"inbox_size", "inbox-size", "inboxsise", "inboxSzie", "inboxSiz", "INBOX_SIZE", "inboxSizes"},
		"outboxSize":      {"outbox_size", "outboxsise", "outbuxSize", "outBoxSiize"},
		"sendTimeout":     {"send_timeout", "send-timeout", "sendTimout", "sndTimout", "sentTimeout", "sendTimeoutMs", "send.timeout"},
		"queueBytes":      {"queuBytes", "queue_bytes", "queueByte", "queuebites", "qeueuBytes"},
		"maxMessageBytes": {"max_message_bytes", "maxMesageBytes", "maxMessagesBytes", "maxMesagBytes"},
		"transport":       {"transprot", "transpot", "trasnport", "transports", "Transport_"},
		"watch":           {"wacth", "wathc", "watchs", "_watch"},
		"watchInterval":   {"watch_interval", "watchIntervall", "watchInterval_ms", "wacthInterval"},
		"linger":          {"lingr", "ligner", "lingers", "lingger"},
		"reload":          {"relaod", "reloads", "re_load", "reolad", "relod"},
	} {
		for _, name := range misses {
			if got := Misspelt(name, TopFields); got != ours {
				t.Errorf("%q is taken for %q, want %q", name, got, ours)
			}
		}
	}
	for ours, misses := range map[string][]string{
		"id":       {"idd", "iid", "i_d", "IDD"},
		"address":  {"addres", "adress", "addresss", "Adress", "addrress", "addrses", "adddress"},
		"bind":     {"bindd", "bnd", "bidn", "biind", "binds"},
		"observer": {"observers", "obsever", "observr", "Obsrever"},
	} {
		for _, name := range misses {
			if got := Misspelt(name, PeerFields); got != ours {
				t.Errorf("%q in an entry is taken for %q, want %q", name, got, ours)
			}
		}
	}
}

func TestFieldsOfAProgramAreKept(t *testing.T) {
	top := strings.Fields(`FSAddress ElectionTimeout HeartbeatTimeout LogDir LogLevel Name Role Host Zone Weight
		Data Timeout Path Dir Size Port Addr address id ip bind self me version v comment _comment $schema // keyFile
		publicKey public_key readTimeout ReadTimeout syncTimeout RecvTimeout ResendTimeout setTimeout writeTimeout
		indexSize batchSize bufferSize maxSize InboxDir outboxDir inbox outbox queue queueSize QueueLen maxBytes
		maxMessages messageBytes MinElectionTimeout MaxElectionTimeout snapshotThreshold StateDir logger lines line
		clusterId clusterName cluster_id nodes servers replicas leader users term terms timeouts trace tracing tls transfers transport2 transportAddress clients quorum debug finger
		watchdog watcher watched watchList watchTimeout heartbeat heartbeatInterval batch match catch
		reader readonly replay relay release reloadInterval reloadCommand load
		ClusterSize peerCount peersFile peers2 raft etcd state`)
	entries := strings.Fields(`FSAddress fsAddress HTTPAddress httpAddr LogDir Name Role Host Zone Weight Data Timeout Path
		Dir Size Port IP ip Port1 Port2 port Addr addrs addresses address2 publicAddress ipAddress
		key ids pid uid idx kind band bond find mind binary build kid is in if i d b a peers inboxSize sendTimeout
		cluster voter learner server observability region rack tags labels 日本 é ""`)
	for _, name := range top {
		if got := Misspelt(name, TopFields); got != "" {
			t.Errorf("%q is taken for %q", name, got)
		}
	}
	for _, name := range entries {
		if got := Misspelt(name, PeerFields); got != "" {
			t.Errorf("%q in an entry is taken for %q", name, got)
		}
	}
	for _, name := range append(top, TopFields...) {
		if Match(name, TopFields) != "" && Misspelt(name, TopFields) != "" {
			t.Errorf("%q is taken for a misspelling of itself", name)
		}
	}
	if got := Misspelt("", TopFields); got != "" {
		t.Errorf("the empty name is taken for %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b         string
		substitution int
		want         int
	}{
		{"peers", "peers", 1, 0}, {"peer", "peers", 1, 1}, {"peesr", "peers", 1, 1}, {"pears", "peers", 1, 1},
		{"pears", "peers", 2, 2}, {"adr", "address", 1, 10}, {"addr", "address", 1, 3}, {"", "id", 1, 2},
		{"logger", "linger", 1, 2}, {"logger", "linger", 2, 4},
	} {
		if got := distance(test.a, test.b, test.substitution); got != test.want {
			t.Errorf("from %q to %q with %d: got %d, want %d", test.a, test.b, test.substitution, got, test.want)
		}
		if got := distance(test.b, test.a, test.substitution); got != test.want {
			t.Errorf("from %q to %q with %d: got %d, want %d", test.b, test.a, test.substitution, got, test.want)
		}
	}
}
