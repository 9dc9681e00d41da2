package clustertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// pageOf is the page of what play does on a network of n servers, as written at the end
// of a test that fails.
func pageOf(t *testing.T, n int, play func(net *clustertest.Network, nodes []*cluster.Node)) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record.html")
	synctest.Test(t, func(t *testing.T) {
		f := &failed{TB: t}
		net := clustertest.NewNetwork(f, 4711, n)
		net.SavePage(file)
		play(net, net.Start())
		for i := len(f.cleanups) - 1; i >= 0; i-- {
			f.cleanups[i]()
		}
		if !strings.Contains(f.log.String(), file) {
			t.Errorf("%s is missing in the log:\n%s", file, f.log.String())
		}
	})
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestThePageTellsWhatHappened(t *testing.T) {
	page := pageOf(t, 3, scene)
	for _, want := range []string{
		"<title>" + t.Name(), "4711", "✗ failed", "3s without events",
		`class="arrow delivered"`, `class="arrow late"`, `class="arrow duplicate"`, `class="arrow lost"`,
		`class="arrow dropped"`, `class="arrow held"`, `class="arrow on-its-way"`,
		`<rect class="crash"`, `<rect class="pause"`, `<rect class="partition group-A"`, `<rect class="partition group-B"`,
		`delivered <span class="count">6<`, `late (overtaken) <span class="count">1<`, `lost <span class="count">3<`,
		"lost, the receiver has crashed", "held, then delivered", ">server 2 restarted</text>", "sent at 25ms\ndelivered at 27.000001ms, after 2.000001ms",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if got, want := strings.Count(page, `class="arrow `), 14; got != want {
		t.Errorf("got %d arrows, want %d", got, want)
	}
}

func TestOnlyWhatArrivesReachesALane(t *testing.T) {
	page := pageOf(t, 3, scene)
	lanes := make(map[int]bool)
	for _, m := range regexp.MustCompile(`<line class="lane" x1="(\d+)"`).FindAllStringSubmatch(page, -1) {
		x, _ := strconv.Atoi(m[1])
		lanes[x] = true
	}
	arrows := regexp.MustCompile(`(?s)class="arrow (\S+)".*?<path class="shaft" d="M(\d+) (\d+)L(\d+) (\d+)"`).FindAllStringSubmatch(page, -1)
	if len(lanes) != 3 || len(arrows) != 14 {
		t.Fatalf("found %d lanes and %d arrows", len(lanes), len(arrows))
	}
	for _, m := range arrows {
		from, _ := strconv.Atoi(m[2])
		start, _ := strconv.Atoi(m[3])
		to, _ := strconv.Atoi(m[4])
		end, _ := strconv.Atoi(m[5])
		arrives := m[1] == "delivered" || m[1] == "late" || m[1] == "duplicate"
		if !lanes[from] || (lanes[to-7] || lanes[to+7]) != arrives || end <= start {
			t.Errorf("a message that is %s goes from (%d,%d) to (%d,%d); the lanes: %v", m[1], from, start, to, end, lanes)
		}
	}
}

func TestThePageOfATestThatPasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record.html")
	t.Run("it", func(t *testing.T) {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) { net.SavePage(file) })
	})
	if page, err := os.ReadFile(file); err != nil || !strings.Contains(string(page), "✓ passed") {
		t.Errorf("got error %v, page\n%s", err, page)
	}
}

func TestAPageThatCannotBeWrittenFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reporter{TB: t}
		clustertest.NewNetwork(r, 1, 2).SavePage(filepath.Join(t.TempDir(), "missing", "record.html"))
		for i := len(r.cleanups) - 1; i >= 0; i-- {
			r.cleanups[i]()
		}
		if r.errors != 1 {
			t.Errorf("got %d errors, want 1", r.errors)
		}
	})
}

func TestNoMessageBreaksThePage(t *testing.T) {
	page := pageOf(t, 2, func(_ *clustertest.Network, nodes []*cluster.Node) { sendHostile(nodes) })
	for tag, want := range map[string]int{"<script": 1, "</script": 1, "<title": 2 + len(hostile), "</title": 2 + len(hostile), "</pre": 1, "<!--": 0, " onload=\"": 0, " onload='": 0} {
		if got := strings.Count(page, tag); got != want {
			t.Errorf("%q is there %d times, want %d", tag, got, want)
		}
	}
	if strings.ContainsAny(page, "\x00\x07\x1b\u202e") || !strings.Contains(page, `\u202egnirts`) {
		t.Error("there are characters that do not print")
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	page := pageOf(t, 3, scene)
	if got := regexp.MustCompile(`https?:|//[a-z]|@import|url\(|\ssrc\s*=|<link|<iframe`).FindString(page); got != "" {
		t.Errorf("the page has %q in it", got)
	}
	for _, ref := range regexp.MustCompile(`href\s*=\s*("[^"]*"|\S*)`).FindAllString(page, -1) {
		id := strings.TrimSuffix(strings.TrimPrefix(ref, `href="#`), `"`)
		if !strings.Contains(page, fmt.Sprintf(`id=%q`, id)) {
			t.Errorf("%s leads out of the page, or nowhere", ref)
		}
	}
}

func TestTheHeightOfThePictureIsBounded(t *testing.T) {
	height := func(play func(net *clustertest.Network, nodes []*cluster.Node)) int {
		m := regexp.MustCompile(`viewBox="0 0 \d+ (\d+)" role="img"`).FindStringSubmatch(pageOf(t, 5, play))
		if m == nil {
			t.Fatal("there is no picture")
		}
		h, _ := strconv.Atoi(m[1])
		return h
	}
	quiet := height(func(_ *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 10)
		time.Sleep(time.Hour)
		send(nodes[0], 1, 0, 10)
		time.Sleep(time.Second)
	})
	if quiet < 200 || quiet > 1500 {
		t.Errorf("20 messages and a quiet hour take %d pixels", quiet)
	}
	busy := height(func(_ *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], cluster.BROADCAST, 0, 1000)
		time.Sleep(time.Second)
	})
	if busy < 5_000 || busy > 30_000 {
		t.Errorf("4000 messages take %d pixels", busy)
	}
}

// parts are the pictures of a page and the bodies of its table, from the first part of the record to the last.
func parts(t *testing.T, page string) (pictures, rows []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?s)<template class="picture">(.*?)</template>`).FindAllStringSubmatch(page, -1) {
		pictures = append(pictures, m[1])
	}
	last := regexp.MustCompile(`(?s)<div class="pane" id="diagram".*?</div>\s*(?:<template|<h2)`).FindString(page)
	pictures = append(pictures, last)
	for _, m := range regexp.MustCompile(`(?s)<tbody[^>]*>(.*?)</tbody>`).FindAllStringSubmatch(page, -1) {
		rows = append(rows, m[1])
	}
	return pictures, rows
}

func TestThePageHasEveryPartOfTheRecord(t *testing.T) {
	page := pageOf(t, 2, func(net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 2500)
		time.Sleep(time.Second)
		net.Crash(1)
		time.Sleep(time.Second)
	})
	if strings.Contains(page, "are here.") {
		t.Error("it says that something is left out")
	}
	pictures, rows := parts(t, page)
	if len(pictures) != 3 || len(rows) != 3 {
		t.Fatalf("got %d pictures and %d bodies, want 3 of each", len(pictures), len(rows))
	}
	next := 0
	for i := range rows {
		ids := regexp.MustCompile(`<tr id="e(\d+)"`).FindAllStringSubmatch(rows[i], -1)
		if want := []int{501, 1000, 1000}[i]; len(ids) != want {
			t.Errorf("part %d has %d rows, want %d", i, len(ids), want)
		}
		for _, m := range ids {
			if m[1] != strconv.Itoa(next) {
				t.Fatalf("part %d has row %s where %d is the next", i, m[1], next)
			}
			if !strings.Contains(pictures[i], `id="a`+m[1]+`"`) {
				t.Errorf("part %d has row %s, and its picture does not have it", i, m[1])
			}
			next++
		}
		// What comes later is not drawn before.
		if got, want := strings.Contains(pictures[i], `<rect class="crash"`), i == 2; got != want {
			t.Errorf("part %d shows the crash: %v, want %v", i, got, want)
		}
	}
}

func TestThePageSaysWhatItLeavesOut(t *testing.T) {
	if testcluster.RaceEnabled {
		t.Skip("it is about what is drawn of many messages, and takes half a minute under the race detector")
	}
	page := pageOf(t, 2, func(_ *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 20_500)
		time.Sleep(time.Minute)
	})
	const want = "Of 20500 messages and notes, the last 20000 are here."
	if !strings.Contains(page, want) {
		t.Errorf("%q is missing", want)
	}
	if got := strings.Count(page, `class="arrow `); got != 20_000 {
		t.Errorf("%d are drawn", got)
	}
	if got := strings.Count(page, `<tr id="e`); got != 20_000 {
		t.Errorf("%d are in the table", got)
	}
}
