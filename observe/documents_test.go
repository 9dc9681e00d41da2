package observe

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/abhishekg16/cluster"
)

// The table of metrics in docs/observe.md is that of what there is.
func TestTheDocumentedMetricsAreThoseThatThereAre(t *testing.T) {
	nodes := start(t, 2)
	linkState(t, nodes[0], 1, cluster.LinkUp)
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector(nodes[0]))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			if l.GetName() != "server" {
				labels = append(labels, l.GetName())
			}
		}
		have = append(have, f.GetName()+" "+strings.Join(labels, " "))
	}
	text, err := os.ReadFile("../docs/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(cluster_\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1]+" "+strings.Join(strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(m[2])), " "))
	}
	slices.Sort(documented)
	if diff := cmp.Diff(have, documented); diff != "" {
		t.Errorf("what there is -, what docs/observe.md has +:\n%s", diff)
	}
}
