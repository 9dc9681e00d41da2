package deploy

import (
	"encoding/json"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"github.com/abhishekg16/cluster"
)

const (
	alertsFile    = "prometheus/alerts.yml"
	dashboardFile = "grafana/dashboard.json"
)

// An alert is what a rule has in Prometheus' format.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `json:"name"`
			Rules []alert `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, alertsFile)), &file); err != nil {
		t.Fatalf("%s: %v", alertsFile, err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 5 {
		t.Fatalf("%s has %d alerts: this tests little", alertsFile, len(all))
	}
	return all
}

// A panel is what the tests look at of a panel of Grafana's.
type panel struct {
	ID         int    `json:"id"`
	Title      string `json:"title"`
	Type       string `json:"type"`
	Datasource struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	GridPos struct{ X, Y, W, H int } `json:"gridPos"`
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	var board struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &board); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	if len(board.Panels) < 8 {
		t.Fatalf("%s has %d panels: this tests little", dashboardFile, len(board.Panels))
	}
	return board.Panels
}

// variables stand in the dashboard's expressions for what Grafana puts there.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", "cluster", "$server", "0")

// parse reads an expression and returns what it selects.
func parse(t *testing.T, where, expr string) (selected []*parser.VectorSelector) {
	t.Helper()
	tree, err := parser.ParseExpr(variables.Replace(expr))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			selected = append(selected, v)
		}
		return nil
	})
	if len(selected) == 0 {
		t.Errorf("%s: %q names no metric", where, expr)
	}
	return selected
}

func TestEachAlertCanBeEvaluatedAndSaysWhatToDo(t *testing.T) {
	named := make(map[string]bool)
	for _, a := range alerts(t) {
		if a.Alert == "" || named[a.Alert] {
			t.Errorf("the alert %q has no name, or another's", a.Alert)
		}
		named[a.Alert] = true
		parse(t, a.Alert, a.Expr)
		if s := a.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		for _, text := range []string{"summary", "description"} {
			if a.Annotations[text] == "" {
				t.Errorf("%s has no %s", a.Alert, text)
			}
		}
	}
}

func TestEachPanelShowsSomethingInAPlaceOfItsOwn(t *testing.T) {
	var before []panel
	for _, p := range panels(t) {
		if p.Title == "" || p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q, is at %+v", p.ID, p.Title, p.GridPos)
		}
		for _, q := range before {
			a, b := p.GridPos, q.GridPos
			if p.ID == q.ID || a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("the panels %q and %q have one id, or overlap", p.Title, q.Title)
			}
		}
		before = append(before, p)
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q asks %q for %d expressions", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, target := range p.Targets {
			parse(t, p.Title, target.Expr)
		}
	}
}

// promtool is Prometheus' own check, on Debian in the package prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not here")
	}
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = "prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolAcceptsTheAlerts(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", filepath.Base(alertsFile))
}

// The cases of alerts_test.yml say at what numbers an alert fires, and at which not.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	cases := read(t, "prometheus/alerts_test.yml")
	for _, a := range alerts(t) {
		if !strings.Contains(cases, "alertname: "+a.Alert+"\n") {
			t.Errorf("alerts_test.yml has no case of %s", a.Alert)
		}
	}
	promtool(t, "test", "rules", "alerts_test.yml")
}

// The expressions of the dashboard are right for promtool as well, which reads them as rules.
func TestPromtoolAcceptsTheDashboard(t *testing.T) {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			rules = append(rules, rule{"dashboard:expression", variables.Replace(target.Expr)})
		}
	}
	rules = slices.CompactFunc(rules, func(a, b rule) bool { return a == b })
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint=none", file)
}

// expressions are those of the alerts and of the dashboard, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, a := range alerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	return all
}

// Each metric that is asked for is one of the collector of package observe, but for what Prometheus itself adds.
func TestMetricsOfAlertsAndDashboardExist(t *testing.T) {
	const source = "../observe/metrics.go"
	if _, err := os.Stat(source); err != nil {
		t.Skip("package observe is not here")
	}
	file, err := goparser.ParseFile(token.NewFileSet(), source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{"up": true}
	ast.Inspect(file, func(n ast.Node) bool {
		// Each description is made by a call with the name first, or behind its kind.
		if call, ok := n.(*ast.CallExpr); ok {
			for _, arg := range call.Args[:min(2, len(call.Args))] {
				if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					have["cluster_"+strings.Trim(lit.Value, `"`)] = true
				}
			}
		}
		return true
	})
	if !have["cluster_messages_sent_total"] {
		t.Fatalf("found no metrics in %s: this tests nothing", source)
	}
	for where, expr := range expressions(t) {
		for _, v := range parse(t, where, expr) {
			if !have[v.Name] {
				t.Errorf("%s asks for %s, which there is not", where, v.Name)
			}
		}
	}
}

// The reasons and states that are asked for are those of the library, by the names that it gives them.
func TestReasonsOfAlertsAndDashboardExist(t *testing.T) {
	dropped, refused, states := names(cluster.AllReasons()), names(cluster.AllRefusals()), names(cluster.AllLinkStates())
	count := 0
	for where, expr := range expressions(t) {
		for _, v := range parse(t, where, expr) {
			for _, m := range v.LabelMatchers {
				known := states
				switch {
				case m.Name == "reason" && v.Name == "cluster_messages_refused_total":
					known = refused
				case m.Name == "reason":
					known = dropped
				case m.Name != "state":
					continue
				}
				for value := range strings.SplitSeq(m.Value, "|") {
					if count++; !slices.Contains(known, value) {
						t.Errorf("%s asks for the %s %q, and there are %q", where, m.Name, value, known)
					}
				}
			}
		}
	}
	if count < 10 {
		t.Errorf("found %d reasons and states: this tests little", count)
	}
}

func names[T fmt.Stringer](values []T) (all []string) {
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}
