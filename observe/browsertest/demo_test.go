package browsertest

import (
	"bufio"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var (
	long     = flag.Bool("long", false, "hold times and costs to their bars, which a machine that does other things misses")
	pictures = flag.String("pictures", "", "write pictures of the page to the `directory`")
)

// downWithin is after how long a killed server must be shown as down.
const downWithin = 5 * time.Second

// A demo is the program of make demo-live while it runs.
type demo struct {
	t     testing.TB
	path  string
	lines chan string // what it prints
	in    io.Writer   // each line makes something happen
}

// startDemo builds the program, and starts it. It is ended with the test.
func startDemo(t testing.TB, args ...string) *demo {
	t.Helper()
	program := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "github.com/abhishekg16/cluster/observe/demo").CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, out)
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &demo{t: t, path: program, lines: make(chan string, 100), in: in}
	go func() { // It ends when the program does, which the cleanup waits for.
		defer close(d.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			d.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		late := time.AfterFunc(limit, func() { cmd.Process.Kill() })
		defer late.Stop()
		cmd.Process.Signal(syscall.SIGINT)
		for range d.lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo, after an interrupt: %v", err)
		}
	})
	return d
}

// help is what the program says of its flags.
func (d *demo) help() string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, d.path, "-h").CombinedOutput()
	if err != nil {
		d.t.Fatalf("the flags of the demo: %v\n%s", err, out)
	}
	return string(out)
}

// next makes the next thing happen, and waits until the demo says that.
func (d *demo) next(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, "\n"); err != nil {
		d.t.Fatal(err)
	}
	d.await(text)
}

// await reads what the demo prints until a line has the text.
func (d *demo) await(text string) string {
	d.t.Helper()
	late := time.After(2 * limit)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.t.Fatalf("the demo has ended before it said %q", text)
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-late:
			d.t.Fatalf("the demo has not said %q", text)
		}
	}
}

var pageURL = regexp.MustCompile(`http://\S+`)

func TestThePageFollowsServersThatAreKilledAndAdded(t *testing.T) {
	chromium(t)
	d := startDemo(t, "-pace", "0", "-for", "10m")
	b := newBrowser(t) // ended first, so that it sees no server end but those that it is to see
	page := pageURL.FindString(d.await("server 0: "))
	run(b, chromedp.Navigate(page))
	b.eventually("the page is live", func() bool { return strings.HasPrefix(b.element("status"), "live|") })
	b.eventually("all links of five servers are up, as all of them say", func() bool {
		return b.eval(`document.querySelectorAll(".mesh td.up").length`) == "20"
	})
	b.eventually("the links have rates", func() bool { return strings.Contains(b.element("m4-1"), "/s") })
	b.picture("light", light)

	d.next("server 3 is killed")
	took := b.eventually("server 3 is shown as down, and silent", func() bool {
		return b.hasClass("m0-3", "down") && b.hasClass("p3.state", "down") && b.hasClass("h3", "down")
	})
	t.Logf("server 3 was shown as down %v after it was killed", took.Round(10*time.Millisecond))
	if *long && took > downWithin {
		t.Errorf("that took more than %v", downWithin)
	}
	b.eventually("its last drops are explained, and told as events", func() bool {
		text := b.eval("document.body.innerText")
		return strings.Contains(text, "unreachable") && strings.Contains(text, "the link to server 3 is down")
	})
	b.picture("dark", dark)

	d.next("server 5 is added")
	b.eventually("server 5 is on the page, and the others' links to it are up", func() bool {
		return b.hasClass("m0-5", "up") && b.hasClass("m4-5", "up") && b.hasClass("m5-0", "up") && b.hasClass("p5.state", "up")
	})
	b.picture("phone", phone)

	d.next("server 3 is started again")
	b.eventually("server 3 is up again", func() bool { return b.hasClass("m0-3", "up") && b.hasClass("m3-0", "up") })
	if got := b.eval(`document.querySelectorAll("script:not([src]), style, [style]").length`); got != "0" {
		t.Errorf("%s elements have scripts or styles of their own", got)
	}
}

func TestTheDemoEndsByItselfAfterItsTime(t *testing.T) {
	d := startDemo(t, "-for", "2s")
	d.await("Ctrl-C ends it.")
	late := time.After(limit)
	for open := true; open; {
		select {
		case _, open = <-d.lines:
		case <-late:
			t.Fatal("it does not end")
		}
	}
	if help := d.help(); !strings.Contains(help, "how long it goes on (default 2m0s)") {
		t.Errorf("by itself it does not end after two minutes:\n%s", help)
	}
}

// A screen is what a picture is taken with.
type screen struct {
	scheme        string // light or dark
	width, height int64
	density       float64
	phone         bool
}

var (
	light = screen{"light", 1280, 1000, 1, false}
	dark  = screen{"dark", 1280, 1000, 1, false}
	phone = screen{"light", 390, 844, 2, true}
)

// picture takes one of the page, if pictures are wanted; and whether they are or not, checks that the
// page is not wider than its window.
func (b *browser) picture(name string, s screen) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: s.density, Mobile: s.phone})
	if got := b.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); got != "0" {
		b.t.Errorf("%s: the page is wider than its window, by %s", name, got)
	}
	if *pictures == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pictures, "observe-"+name+".png"), run(b, chromedp.CaptureScreenshot()), 0o644); err != nil {
		b.t.Fatal(err)
	}
}
