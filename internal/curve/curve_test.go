package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
)

// The pair is one of those in the documentation of ZeroMQ's CURVE (zmq_curve).
const (
	knownPublic = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
	knownSecret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
)

func TestPublicIsWhatZeroMQMakesOfASecretKey(t *testing.T) {
	got, err := Public(knownSecret)
	if err != nil || got != knownPublic {
		t.Errorf("got %q, %v, want %q", got, err, knownPublic)
	}
}

// The example of ZeroMQ RFC 32.
func TestZ85IsThatOfItsSpecification(t *testing.T) {
	b, _ := hex.DecodeString("864FD26FB559F75B")
	if got := encode(b); got != "HelloWorld" {
		t.Errorf("got %q, want HelloWorld", got)
	}
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	key, err := Decode(knownPublic)
	if err != nil || Encode(key) != knownPublic {
		t.Errorf("got %q, %v, want %q", Encode(key), err, knownPublic)
	}
	if _, err := Decode(knownPublic[1:]); err == nil {
		t.Error("39 characters are taken for a key")
	}
}

func TestGeneratedKeysBelongTogether(t *testing.T) {
	for range 100 {
		public, secret, err := Generate()
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(public); err != nil {
			t.Error(err)
		}
		if got, err := Public(secret); err != nil || got != public {
			t.Fatalf("the public key of a new secret one is %q, %v, want %q", got, err, public)
		}
	}
}

func TestWhatIsNoKeyIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "want 40 characters in Z85, got 0",
		knownPublic + "0":             "got 41",
		" " + knownPublic[1:]:         "character 1 is none of Z85",
		knownPublic[:39] + "\x00":     "character 40",
		"#####" + knownPublic[5:]:     "characters 1 to 5",
		strings.Repeat("00000", 8):    "all zeros",
		strings.Repeat("é", Size/2):   "none of Z85",
		knownPublic[:35] + "%nSc1":    "characters 36 to 40",
		"\n" + knownPublic[:38] + "x": "character 1",
	} {
		if err := Check(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

// With the points of low order every secret key agrees on nothing but zeros.
func TestPublicKeysThatKeepNothingSecretAreNone(t *testing.T) {
	secret, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, spelling := range lowOrder {
		for _, high := range []byte{0, 0x80} {
			b, err := hex.DecodeString(spelling)
			if err != nil {
				t.Fatal(err)
			}
			b[31] |= high
			public, err := ecdh.X25519().NewPublicKey(b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := secret.ECDH(public); err == nil {
				t.Errorf("%x is not of low order", b)
			}
			if _, err := DecodePublic(encode(b)); err == nil {
				t.Errorf("%x is taken for a public key", b)
			}
		}
	}
	if key, err := DecodePublic(knownPublic); err != nil || Encode(key) != knownPublic {
		t.Errorf("%q is read as %x, %v", knownPublic, key, err)
	}
}

func FuzzKey(f *testing.F) {
	f.Add(knownPublic)
	f.Add(strings.Repeat("#", Size))
	f.Fuzz(func(t *testing.T, text string) {
		if Check(text) != nil {
			return
		}
		b, err := decode(text)
		if err != nil || encode(b) != text {
			t.Errorf("%q is read as %x, %v, and written as %q", text, b, err, encode(b))
		}
		if _, err := Public(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
