// Package curve makes and reads the keys of CURVE, ZeroMQ's encryption: pairs of 32
// bytes on Curve25519, written as 40 characters in Z85 (ZeroMQ RFC 32).
package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Size is the length of a key as text.
const Size = 40

// alphabet is that of Z85: the value of a digit is its place.
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// Generate returns a new pair of keys.
func Generate() (public, secret string, err error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	return encode(k.PublicKey().Bytes()), encode(k.Bytes()), nil
}

// Public returns the public key that belongs to a secret one.
func Public(secret string) (string, error) {
	b, err := decode(secret)
	if err != nil {
		return "", err
	}
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return "", err
	}
	return encode(k.PublicKey().Bytes()), nil
}

// Check reports what keeps text from being a key. It does not quote the text, which
// may be a secret one.
func Check(text string) error {
	b, err := decode(text)
	if err != nil {
		return err
	}
	if strings.Trim(string(b), "\x00") == "" {
		return errors.New("the key is all zeros")
	}
	return nil
}

// Encode writes the 32 bytes of a key as text.
func Encode(key [32]byte) string { return encode(key[:]) }

// Decode reads the 32 bytes of a key.
func Decode(text string) (key [32]byte, err error) {
	b, err := decode(text)
	copy(key[:], b)
	return key, err
}

// DecodePublic reads a public key. It fails also for the few with which every secret one agrees on
// the same, which everybody knows: nothing is made secret with those.
func DecodePublic(text string) (key [32]byte, err error) {
	if err := Check(text); err != nil {
		return key, err
	}
	if key, err = Decode(text); err != nil {
		return key, err
	}
	point := key
	point[31] &= 0x7f // the highest bit does not count
	for _, low := range lowOrder {
		if hex.EncodeToString(point[:]) == low {
			return key, errors.New("the key is one of the few that keep nothing secret (of low order): make a pair with cluster keygen")
		}
	}
	return key, nil
}

// lowOrder are the points of Curve25519 whose product with any secret key is 0, in all their spellings.
var lowOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func encode(b []byte) string {
	text := make([]byte, 0, Size)
	for ; len(b) > 0; b = b[4:] {
		v := binary.BigEndian.Uint32(b)
		for unit := uint32(85 * 85 * 85 * 85); unit > 0; unit /= 85 {
			text = append(text, alphabet[v/unit%85])
		}
	}
	return string(text)
}

func decode(text string) ([]byte, error) {
	if len(text) != Size {
		return nil, fmt.Errorf("want %d characters in Z85, got %d", Size, len(text))
	}
	var b []byte
	for i := 0; i < Size; i += 5 {
		v := uint64(0)
		for j, c := range []byte(text[i : i+5]) {
			digit := strings.IndexByte(alphabet, c)
			if digit < 0 {
				return nil, fmt.Errorf("character %d is none of Z85", i+j+1)
			}
			v = v*85 + uint64(digit)
		}
		if v > 1<<32-1 {
			return nil, fmt.Errorf("characters %d to %d are no number of 32 bits", i+1, i+5)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b, nil
}
