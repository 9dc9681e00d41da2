package gobdiff

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed that TestAgainstGob tries")
	seeds     = flag.Int("seeds", 1, "how many seeds TestAgainstGob tries")
)

// TestAgainstGob builds and runs a program for each seed: what gob gives back as an equal value, codec does, too, and what
// codec gives back is equal.
func TestAgainstGob(t *testing.T) {
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { runProgram(t, seed) })
	}
}

func runProgram(t *testing.T, seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, Source(seed, 300), 0o600); err != nil {
		t.Fatal(err)
	}
	// The program may import an internal package since it seems to lie below it.
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "generated", "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlayFile, "-o", program, "./generated").CombinedOutput(); err != nil {
		t.Fatalf("seed %d: the program does not build: %v\n%.3000s", seed, err, out)
	}
	out, err := exec.CommandContext(ctx, program).CombinedOutput()
	if err != nil {
		t.Errorf("seed %d: %v\n%.4000s", seed, err, out)
	}
	last := bytes.LastIndexByte(bytes.TrimSpace(out), '\n') + 1
	t.Logf("seed %d: %s", seed, out[last:])
}
