package deploy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/freeport"
)

// The command is started with the arguments of the files, alone in a cluster of three, and is alive and ready.
func TestTheCommandRunsAsTheFilesSay(t *testing.T) {
	if _, err := os.Stat(filepath.Join(top, "cmd", "cluster", "run.go")); err != nil {
		t.Skip("the command has no run")
	}
	program := filepath.Join(t.TempDir(), "cluster")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".")
	build.Dir, build.Env = filepath.Join(top, "cmd", "cluster"), append(os.Environ(), "GOWORK=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindStringSubmatch(read(t, unit))
	for _, c := range []struct {
		name  string
		args  []string
		hosts []string // by which it may be asked
	}{
		{"the StatefulSet", load(t).set.Spec.Template.Spec.Containers[0].Args, []string{"127.0.0.1:9090", "cluster-0.cluster:9090"}},
		{"the unit", strings.Fields(start[1]), []string{"127.0.0.1:9090", "localhost:9090"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, ports := t.TempDir(), freePorts(t, 4)
			config := `{"peers": [`
			for id, port := range ports[:3] {
				config += fmt.Sprintf(`%s{"id": %d, "address": "127.0.0.1:%s"}`, strings.Repeat(",", min(id, 1)), id, port)
			}
			if err := os.WriteFile(filepath.Join(dir, "Config.json"), []byte(config+"]}"), 0o600); err != nil {
				t.Fatal(err)
			}
			here := strings.NewReplacer("/etc/cluster", dir, "$(POD_INDEX)", "0", "$(POD_NAME)", "cluster-0", "%i", "0", ":9090", ":"+ports[3])
			var args []string
			for _, a := range c.args {
				args = append(args, here.Replace(a))
			}
			cmd := exec.CommandContext(t.Context(), program, args...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewReader(stderr)
			for line := ""; !strings.Contains(line, "server 0 runs"); {
				if line, err = said.ReadString('\n'); err != nil {
					t.Fatalf("%q ended, and had not said that it runs: %v", args, cmd.Wait())
				}
			}
			silent := make(chan struct{})
			go func() { // It ends with the program.
				defer close(silent)
				io.Copy(io.Discard, said)
			}()
			for _, host := range append(c.hosts, "another.example") {
				for _, path := range []string{"/livez", "/readyz", "/metrics"} {
					want := http.StatusOK
					if host == "another.example" {
						want = http.StatusMisdirectedRequest
					}
					if got := ask(t, ports[3], host, path); got != want {
						t.Errorf("%s, asked as %s, answers %d, want %d", path, host, got, want)
					}
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			<-silent
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGTERM it ends with %v", err)
			}
		})
	}
}

// ask is the status of an answer.
func ask(t *testing.T, port, host, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = strings.Replace(host, "9090", port, 1)
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func freePorts(t *testing.T, count int) (ports []string) {
	t.Helper()
	for range count {
		l, err := freeport.Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}
