package observe

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/abhishekg16/cluster"
)

func TestMetricsAreAsPrometheusWantsThem(t *testing.T) {
	nodes := start(t, 3)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	faults, err := testutil.CollectAndLint(Collector(nodes[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Errorf("%s: %s", f.Metric, f.Text)
	}
}

// Labels with other values than ids and enumerations would make a series for each.
func TestLabelsAreIDsAndEnumerations(t *testing.T) {
	nodes := start(t, 3)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	registry := prometheus.NewRegistry()
	for _, n := range nodes { // several nodes of one process
		if err := registry.Register(Collector(n)); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"0", "1", "2"}
	allowed := map[string][]string{
		"server": ids, "peer": append(slices.Clone(ids), nobody), "transport": {"libzmq", "go", "mem"},
		"state":  namesOf(cluster.AllLinkStates()),
		"reason": append(namesOf(cluster.AllReasons()), namesOf(cluster.AllRefusals())...),
	}
	series := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "cluster_") {
			t.Errorf("%s does not begin with cluster_", f.GetName())
		}
		for _, m := range f.GetMetric() {
			series++
			for _, l := range m.GetLabel() {
				if !slices.Contains(allowed[l.GetName()], l.GetValue()) {
					t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	if series < 100 {
		t.Errorf("only %d series: this tests little", series)
	}
}

func namesOf[T interface{ String() string }](all []T) (names []string) {
	for _, v := range all {
		names = append(names, v.String())
	}
	return names
}

func TestMetricsSayWhatStatsSays(t *testing.T) {
	nodes := start(t, 2)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	send(t, nodes[0], 77, "nobody has this id")
	text := ask(t, Handler(nodes[0], Options{}), "/metrics").Body.String()
	for _, want := range []string{
		`cluster_node_info{server="0",transport="mem"} 1`, `cluster_members{server="0"} 2`,
		`cluster_link_state{peer="1",server="0",state="up"} 1`, `cluster_link_state{peer="1",server="0",state="down"} 0`,
		`cluster_messages_dropped_total{peer="none",reason="unknown peer",server="0"} 1`,
		`cluster_messages_dropped_total{peer="1",reason="unreachable",server="0"} 0`,
		`cluster_messages_refused_total{peer="none",reason="handshake",server="0"} 0`,
		`cluster_queue_limit_bytes{server="0"} 1.6777216e+07`, `cluster_inbox_limit_messages{server="0"} 1024`,
		`cluster_reload_failed{server="0"} 0`, `cluster_link_state_timestamp_seconds{peer="1",server="0"} 1.`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	sent := nodes[0].Stats().Peers[0].Sent
	if sent.Sent == 0 {
		t.Fatal("nothing was sent: this tests little")
	}
	for _, r := range cluster.AllReasons() {
		if !strings.Contains(text, `{peer="1",reason="`+r.String()+`",server="0"}`) {
			t.Errorf("the reason %v has no counter for peer 1", r)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
