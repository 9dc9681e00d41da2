package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/abhishekg16/cluster"
)

// The objects, as Kubernetes' own types have them: a field that these do not have is an error.
type objects struct {
	kustomization kustomization
	service       corev1.Service
	set           appsv1.StatefulSet
	budget        policyv1.PodDisruptionBudget
	network       networkingv1.NetworkPolicy
	config        cluster.Config
}

// A kustomization is what the file uses of its format.
type kustomization struct {
	APIVersion         string      `json:"apiVersion"`
	Kind               string      `json:"kind"`
	Resources          []string    `json:"resources"`
	GeneratorOptions   options     `json:"generatorOptions"`
	ConfigMapGenerator []generator `json:"configMapGenerator"`
	SecretGenerator    []generator `json:"secretGenerator"`
}

type options struct {
	DisableNameSuffixHash bool `json:"disableNameSuffixHash"`
}

type generator struct {
	Name  string   `json:"name"`
	Type  string   `json:"type,omitempty"`
	Files []string `json:"files"`
}

const kubernetes = "kubernetes"

func load(t *testing.T) (o objects) {
	t.Helper()
	decode(t, "kustomization.yaml", &o.kustomization)
	decode(t, "service.yaml", &o.service)
	decode(t, "statefulset.yaml", &o.set)
	decode(t, "poddisruptionbudget.yaml", &o.budget)
	decode(t, "networkpolicy.yaml", &o.network)
	var err error
	if o.config, err = cluster.LoadConfig(filepath.Join(kubernetes, "Config.json")); err != nil {
		t.Fatal(err)
	}
	return o
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(kubernetes, file))), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestTheObjectsAreOfKindsThatKubernetesHas(t *testing.T) {
	o := load(t)
	for _, k := range []struct{ got, want string }{
		{o.service.APIVersion + " " + o.service.Kind, "v1 Service"},
		{o.set.APIVersion + " " + o.set.Kind, "apps/v1 StatefulSet"},
		{o.budget.APIVersion + " " + o.budget.Kind, "policy/v1 PodDisruptionBudget"},
		{o.network.APIVersion + " " + o.network.Kind, "networking.k8s.io/v1 NetworkPolicy"},
		{o.kustomization.APIVersion + " " + o.kustomization.Kind, "kustomize.config.k8s.io/v1beta1 Kustomization"},
	} {
		if k.got != k.want {
			t.Errorf("got %q, want %q", k.got, k.want)
		}
	}
	files, err := filepath.Glob(kubernetes + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, f := range files {
		if name := filepath.Base(f); name != "kustomization.yaml" {
			others = append(others, name)
		}
	}
	slices.Sort(o.kustomization.Resources)
	if diff := cmp.Diff(others, o.kustomization.Resources); diff != "" {
		t.Errorf("kustomization.yaml does not list the files (-are there +listed):\n%s", diff)
	}
}

// Each entry of Config.json is a pod, and reached by the name that the service gives it.
func TestEachServerIsAPodWithAName(t *testing.T) {
	o := load(t)
	if n := *o.set.Spec.Replicas; int(n) != len(o.config.Peers) {
		t.Errorf("there are %d pods, and Config.json has %d entries", n, len(o.config.Peers))
	}
	c := o.set.Spec.Template.Spec.Containers[0]
	port := c.Ports[slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "cluster" })].ContainerPort
	for i, p := range o.config.Peers {
		if want := fmt.Sprintf("%s-%d.%s:%d", o.set.Name, i, o.set.Spec.ServiceName, port); p.ID != i || p.Address != want {
			t.Errorf("entry %d has the id %d and the address %q, want %q", i, p.ID, p.Address, want)
		}
		if want := fmt.Sprintf("*:%d", port); p.Bind != want {
			t.Errorf("server %d listens on %q, want %q: its own name may not lead anywhere yet when it starts", p.ID, p.Bind, want)
		}
	}
	if !o.config.Reload {
		t.Error(`Config.json lacks "reload": true, and a change of it has no effect`)
	}
	s := o.service.Spec
	if o.service.Name != o.set.Spec.ServiceName || s.ClusterIP != corev1.ClusterIPNone || !s.PublishNotReadyAddresses {
		t.Errorf("the service %q of %q is not headless, or hides pods that are not ready: %+v", o.service.Name, o.set.Spec.ServiceName, s)
	}
	if s.Ports[0].Port != port {
		t.Errorf("the service has port %d, want %d", s.Ports[0].Port, port)
	}
	if o.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Errorf("the pods are started %q, and none may wait for another", o.set.Spec.PodManagementPolicy)
	}
	labels := o.set.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"StatefulSet": o.set.Spec.Selector.MatchLabels, "Service": s.Selector, "PodDisruptionBudget": o.budget.Spec.Selector.MatchLabels,
		"NetworkPolicy": o.network.Spec.PodSelector.MatchLabels, "NetworkPolicy's first rule": o.network.Spec.Ingress[0].From[0].PodSelector.MatchLabels,
	} {
		if diff := cmp.Diff(labels, selector); diff != "" {
			t.Errorf("the %s selects others than the pods (-pods +selector):\n%s", what, diff)
		}
	}
	if most := o.budget.Spec.MaxUnavailable.IntValue(); most != 1 || len(o.config.Peers) < 2*most+1 {
		t.Errorf("%d of %d may be away at a time, of which no majority is left", most, len(o.config.Peers))
	}
}

// What the pods mount is what the kustomization makes, and only that comes into a container which is its own.
func TestPodsHaveTheConfigurationAndTheirOwnKey(t *testing.T) {
	o := load(t)
	if !o.kustomization.GeneratorOptions.DisableNameSuffixHash {
		t.Error("each change of Config.json makes another object, and starts all pods anew")
	}
	config, keys := o.kustomization.ConfigMapGenerator[0], o.kustomization.SecretGenerator[0]
	var want []string
	for _, p := range o.config.Peers {
		want = append(want, fmt.Sprintf("%d.key", p.ID))
	}
	if diff := cmp.Diff(want, keys.Files); diff != "" {
		t.Errorf("the secret has other files than cluster keygen makes (-want +got):\n%s", diff)
	}
	pod := o.set.Spec.Template.Spec
	if v := pod.Volumes[0]; v.ConfigMap == nil || v.ConfigMap.Name != config.Name {
		t.Errorf("the volume %q is not of the ConfigMap %q", v.Name, config.Name)
	}
	if v := pod.Volumes[1]; v.Secret == nil || v.Secret.SecretName != keys.Name || *v.Secret.DefaultMode != 0o440 {
		t.Errorf("the volume %q is not of the Secret %q with mode 0440, which a server accepts", v.Name, keys.Name)
	}
	c := pod.Containers[0]
	mounts := make(map[string]corev1.VolumeMount)
	for _, m := range c.VolumeMounts {
		mounts[m.Name] = m
		if !m.ReadOnly {
			t.Errorf("%s can be written to", m.MountPath)
		}
	}
	if m := mounts[pod.Volumes[0].Name]; m.SubPath != "" || m.SubPathExpr != "" || !slices.Contains(c.Args, m.MountPath+"/Config.json") {
		t.Errorf("Config.json is mounted as %+v, and the program is told %q", m, c.Args)
	}
	env := make(map[string]corev1.EnvVar)
	for _, e := range c.Env {
		env[e.Name] = e
	}
	if m := mounts[pod.Volumes[1].Name]; m.SubPathExpr != "$(POD_INDEX).key" || env["CLUSTER_KEY_FILE"].Value != m.MountPath {
		t.Errorf("the key is mounted as %+v, and the program looks at %q", m, env["CLUSTER_KEY_FILE"].Value)
	}
	if from := env["POD_INDEX"].ValueFrom.FieldRef.FieldPath; from != "metadata.labels['"+appsv1.PodIndexLabel+"']" {
		t.Errorf("the id is %q", from)
	}
	s, g := pod.SecurityContext, c.SecurityContext
	if !*s.RunAsNonRoot || *s.FSGroup == 0 || *g.AllowPrivilegeEscalation || !*g.ReadOnlyRootFilesystem || !slices.Contains(g.Capabilities.Drop, "ALL") {
		t.Errorf("the pod may more than it needs: %+v, %+v", s, g)
	}
}

// Whether a pod is restarted, or is ready, does not depend on its peers.
func TestProbesAndPagesReachTheServerItself(t *testing.T) {
	o := load(t)
	c := o.set.Spec.Template.Spec.Containers[0]
	port := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "http" })
	for path, probe := range map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != c.Ports[port].Name {
			t.Errorf("no probe asks %s: %+v", path, probe)
		}
	}
	http := c.Ports[port].ContainerPort
	for flag, want := range map[string]string{"--http": fmt.Sprint(":", http), "--http-host": "$(POD_NAME)." + o.service.Name} {
		if i := slices.Index(c.Args, flag); i < 0 || c.Args[i+1] != want {
			t.Errorf("the program is told %q, want %s %s", c.Args, flag, want)
		}
	}
	for _, p := range o.config.Peers {
		if got, want := string(p.Extra["http"]), fmt.Sprintf("%q", fmt.Sprintf("%s-%d.%s:%d", o.set.Name, p.ID, o.service.Name, http)); got != want {
			t.Errorf("the page of server %d is said to be at %s, want %s", p.ID, got, want)
		}
	}
	if got := o.set.Spec.Template.Annotations["prometheus.io/port"]; got != fmt.Sprint(http) {
		t.Errorf("Prometheus is told port %s", got)
	}
	open := make(map[int32]bool)
	for _, rule := range o.network.Spec.Ingress {
		for _, p := range rule.Ports {
			open[p.Port.IntVal] = true
		}
	}
	for _, p := range c.Ports {
		if !open[p.ContainerPort] {
			t.Errorf("port %d is closed by the NetworkPolicy", p.ContainerPort)
		}
	}
	if seconds := *o.set.Spec.Template.Spec.TerminationGracePeriodSeconds; seconds < 10 {
		t.Errorf("a pod is killed after %d s, and closing takes 5 s and a little", seconds)
	}
}

// The two commands of docs/deploy.md make the objects: cluster keygen, and kubectl, here without a cluster.
func TestKubectlMakesTheObjectsOfTheFiles(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "kubectl", "kustomize", "--help").CombinedOutput(); err != nil {
		t.Skipf("there is no kubectl here: %v: %s", err, lastLine(out))
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kubernetes)); err != nil {
		t.Fatal(err)
	}
	keygen := exec.CommandContext(t.Context(), "go", "run", ".", "keygen", filepath.Join(dir, "Config.json"))
	keygen.Dir, keygen.Env = filepath.Join(top, "cmd", "cluster"), append(os.Environ(), "GOWORK=")
	if out, err := keygen.CombinedOutput(); err != nil {
		t.Fatalf("cluster keygen: %v\n%s", err, out)
	}
	build := exec.CommandContext(t.Context(), "kubectl", "kustomize", dir)
	var complaints bytes.Buffer
	build.Stderr = &complaints
	out, err := build.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("kubectl kustomize: %v\n%s", err, &complaints)
	}
	var config corev1.ConfigMap
	var keys corev1.Secret
	var kinds []string
	for text := range strings.SplitSeq(string(out), "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, kind.Kind)
		into := map[string]any{
			"ConfigMap": &config, "Secret": &keys, "Service": new(corev1.Service),
			"StatefulSet": new(appsv1.StatefulSet), "NetworkPolicy": new(networkingv1.NetworkPolicy), "PodDisruptionBudget": new(policyv1.PodDisruptionBudget),
		}[kind.Kind]
		if into == nil {
			t.Errorf("it makes a %s", kind.Kind)
		} else if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service", "StatefulSet"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	want, err := cluster.LoadConfig(filepath.Join(dir, "Config.json"))
	if err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Join(t.TempDir(), "Config.json")
	if err := os.WriteFile(mounted, []byte(config.Data["Config.json"]), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := cluster.LoadConfig(mounted)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range want.Peers {
		if p.PublicKey == "" || got.Peers[i].PublicKey != p.PublicKey {
			t.Errorf("server %d has the public key %q in the ConfigMap, want %q", p.ID, got.Peers[i].PublicKey, p.PublicKey)
		}
		name := fmt.Sprintf("%d.key", p.ID)
		if secret := read(t, filepath.Join(dir, name)); string(keys.Data[name]) != secret {
			t.Errorf("the Secret has another %s than keygen made", name)
		}
	}
}
