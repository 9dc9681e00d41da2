package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit is how long a test waits for what must happen.
const limit = time.Minute

// chromium is the program, or the test is skipped.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no Chromium here, so that the page is not tried in a browser: scripts/setup.sh browser installs it")
	return ""
}

// A browser is headless Chromium with one page open.
type browser struct {
	context.Context
	t testing.TB

	mu     sync.Mutex // guards errors
	errors []string   // what the console has had of them
}

// newBrowser starts a browser, which is ended with the test. At its end the console must have had no errors.
func newBrowser(t testing.TB, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options = append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), options...)
	options = append(options, chromedp.ExecPath(chromium(t)), chromedp.WindowSize(1280, 900), chromedp.Flag("lang", "en"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which does not work for root
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{Context: ctx, t: t}
	if err := chromedp.Do(ctx); err != nil { // starts it, for as long as ctx lasts
		t.Fatalf("starting the browser: %v", err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.errors {
			t.Errorf("the browser's console: %s", e)
		}
	})
	return b
}

// listen notes what goes wrong on the page.
func (b *browser) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = fmt.Sprint(e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text = fmt.Sprint(e.Type, ": ", e.Args)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = fmt.Sprint(e.Entry.Level, ": ", e.Entry.Text, " ", e.Entry.URL)
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errors = append(b.errors, text)
	}
}

// run does one thing and returns its result, or ends the test.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, limit)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("in the browser: %v", err)
	}
	return result
}

// call calls a command of the browser's protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, limit)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		b.t.Fatalf("in the browser: %v", err)
	}
}

// eval is the value of an expression on the page.
func (b *browser) eval(expression string) (value string) {
	b.t.Helper()
	return run(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// element is the text and the class of an element, or "none".
func (b *browser) element(id string) string {
	b.t.Helper()
	return b.eval(fmt.Sprintf(`(e => e ? e.textContent.replace(/\s+/g, " ") + "|" + e.className : "none")(document.getElementById(%q))`, id))
}

// eventually waits until a condition holds, and returns how long that took.
func (b *browser) eventually(what string, holds func() bool) time.Duration {
	b.t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > limit {
			b.t.Fatalf("%s: not within %v; the page says:\n%s", what, limit, b.eval("document.body.innerText"))
		}
		b.pause(50 * time.Millisecond)
	}
	return time.Since(start)
}

// pause waits between two looks, or until the browser has ended.
func (b *browser) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.Done():
	}
}

// hasClass reports whether an element has a class.
func (b *browser) hasClass(id, class string) bool {
	b.t.Helper()
	_, have, _ := strings.Cut(b.element(id), "|")
	return slices.Contains(strings.Fields(have), class)
}
