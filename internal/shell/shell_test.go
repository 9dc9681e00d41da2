package shell

import (
	"os/exec"
	"testing"
)

func TestWordsReachACommandAsTheyAre(t *testing.T) {
	for _, word := range []string{"plain", "a/b-c_d.e:f,g@h%i+j=k", "", "two words", "it's", `"`, `\`, "$HOME", "`id`", "a\nb", "*", "~", "#", "é", "-n", "a;b", "!", `it's "a" $(b); *`} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", Command("printf", "%s", word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q arrives as %q, %v", word, out, err)
		}
	}
}

func TestWordsThatNeedNoQuotesHaveNone(t *testing.T) {
	if got, want := Command("mv", "keys/1.key.new", "keys/1.key"), "mv keys/1.key.new keys/1.key"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
