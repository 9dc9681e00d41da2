package stream

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// What the documents say of times and bounds is what the constants of the package are. A text that says it in other words is to be added here.
func TestTheDocumentsTellTheTimesAndBoundsOfTheConstants(t *testing.T) {
	const (
		readme   = "../../README.md"
		wired    = "../../docs/wire.md"
		protocol = "../../docs/protocol.md"
		contract = "../../cluster.go"
	)
	seconds := func(d time.Duration) string { return fmt.Sprint(d.Seconds(), " s") }
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds(), " ms") }
	plain := func(d time.Duration) int64 { return d.Milliseconds() }
	kib := func(bytes int) string { return fmt.Sprint(bytes>>10, " KiB") }
	grouped := func(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	silence, third, slack := DefaultSilence, DefaultSilence/3, (PieceBytes * silencePerByte).Round(time.Millisecond)
	perSecond := int(time.Second/silencePerByte) >> 10 << 10 // silencePerByte is rounded to nanoseconds
	for document, phrases := range map[string][]string{
		readme: {
			seconds(brokenMost) + " in which no other stands, or " + fmt.Sprint(brokenTrips) + " round trips",
			"| unacknowledged, then down | " + seconds(third) + ", and " + seconds(silence) + "; " + seconds(silence+third) + " where it only watches |",
			"as long as it sends, " + seconds(hearsayMost+silence),
			"not down for " + seconds(hearsayMost) + " as long as anything comes from it",
			"a server that has never answered has " + seconds(meetingTime) + " at least",
			"another second for each " + kib(perSecond) + " that it has not acknowledged",
			"messages of up to " + kib(UrgentBytes),
		},
		contract: {
			"for " + seconds(hearsayMost) + " no word of its own",
			"and a second for each " + kib(perSecond) + " of that",
			fmt.Sprintf("or after %d times SendTimeout", silenceMost),
			kib(UrgentWindow) + " of urgent messages, which have " + kib(UrgentBytes) + " at most",
		},
		wired: {
			"every " + ms(probeInterval) + " while the receiver owes an answer",
			"asks after " + seconds(quietTime),
			"takes it for " + fmt.Sprint(maxGrant>>20) + " MiB if it is more",
			"holds a frame for " + ms(HoldTime) + " at most",
			fmt.Sprintf("each counts %d bytes", heldCost),
			fmt.Sprintf("the latest %d) and refuse their frames", rememberedLives),
			"for " + seconds(returnTime) + "), and go on at the position",
			fmt.Sprintf("after %d ms, then after 50, 100 and so on, up to every %d ms", plain(askAfter), plain(askMost)),
			"less than " + ms(resendInterval) + " before",
			"up to " + seconds(resendInterval<<4),
			"every " + ms(probeInterval) + ", or a quarter of `SendTimeout` if that is less",
			fmt.Sprintf("have not moved on for %d times as long. To both it adds %s, and a second for each %s bytes", silenceMost, seconds(slack), grouped(perSecond)),
			"asks it every " + ms(QueryInterval) + " while somebody waits for that",
			"not answered for `SendTimeout` and " + seconds(slack),
			"come 1 to " + grouped(wire.UndeliveredMost) + " entries",
			grouped(undeliveredMost) + " entries): then the last entry covers the rest",
			grouped(UrgentBytes) + " bytes at most",
			"The window of the urgent stream is " + grouped(UrgentWindow) + " bytes",
			"more than " + kib(PieceBytes) + " in pieces of " + kib(PieceBytes),
		},
		protocol: {
			"no other stood " + ms(brokenMost) + " later",
			"less than " + fmt.Sprint(brokenTrips) + " round trips",
			"for " + seconds(hearsayMost) + " at most: the path may pass from there to here only",
			"for " + seconds(DefaultSilence) + " (`Policy.Silence`)",
			"took nothing for `SendTimeout`",
			"of " + kib(waitsLeast) + " or more",
			seconds(meetingTime) + " at least",
			"no sooner than " + ms(resendInterval) + " after it was last written again",
			fmt.Sprintf("for %d times as long, nothing is kept any more", silenceMost),
			fmt.Sprintf("%d ms after the first frame behind it has come, then after another 50, 100 and so on, up to %s", plain(askAfter), ms(askMost)),
			"has waited for " + ms(HoldTime),
		},
	} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		// Lines are broken anywhere, and in Go behind "//".
		said := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n//", "\n")), " ")
		for _, phrase := range phrases {
			if !strings.Contains(said, phrase) {
				t.Errorf("%s does not say %q", document, phrase)
			}
		}
	}
}
