package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const unit = "systemd/cluster@.service"

func TestTheUnitStartsAServerWithItsID(t *testing.T) {
	text := read(t, unit)
	for _, want := range []string{
		"\nExecStart=/usr/local/bin/cluster run /etc/cluster/Config.json -id %i --http 127.0.0.1:9090\n",
		"\nUser=cluster\n", "\nNoNewPrivileges=yes\n", "\nProtectSystem=strict\n", "\nWantedBy=multi-user.target\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", unit, want)
		}
	}
}

// systemd reads the unit without a warning, and does not call what it may do exposed.
func TestSystemdAcceptsTheUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not here")
	}
	self, err := os.Executable() // in the place of a program that is not installed here
	if err != nil {
		t.Fatal(err)
	}
	instance := filepath.Join(t.TempDir(), "cluster@0.service")
	text := strings.ReplaceAll(read(t, unit), "/usr/local/bin/cluster", self)
	if err := os.WriteFile(instance, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", instance).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=25", instance).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
