package codec

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// register is Register, whose panic it returns.
func register(v any) (refused string) {
	defer func() {
		if r := recover(); r != nil {
			refused = fmt.Sprint(r)
		}
	}()
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() != "" && t.PkgPath() != "" {
		if _, ok := registeredName(t); !ok {
			Register("std "+t.String(), v)
		}
	}
	return ""
}

// TestStandardTypes sends values of the types of the standard library that people send. Each arrives equal, or is refused
// with a text that says why.
func TestStandardTypes(t *testing.T) {
	zone := time.FixedZone("X", 3*3600)
	parsed, err := url.Parse("https://u:p%40ss@h:1/a%2Fb?q=1&r=%20#frag%2F")
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR("fd00::/8")
	if err != nil {
		t.Fatal(err)
	}
	third := new(big.Float).SetPrec(200).SetMode(big.ToZero).Quo(big.NewFloat(1), big.NewFloat(3))
	longest := regexp.MustCompile("a+")
	longest.Longest()
	number := 7
	for _, c := range []struct {
		name    string
		v       any
		refused string // a part of what Register or Append says
	}{
		{"time.Time", time.Date(2024, 2, 29, 1, 2, 3, 4, zone), ""},
		{"time.Time UTC", time.Date(12024, 2, 29, 1, 2, 3, 4, time.UTC), ""},
		{"time.Time zero", time.Time{}, ""}, {"time.Duration", -time.Second, ""}, {"time.Month", time.May, ""}, {"time.Weekday", time.Friday, ""},
		{"time.Location", time.FixedZone("X", 60), "none would arrive"},
		{"net.IP of 4 bytes", net.IP{1, 2, 3, 4}, ""}, {"net.IP of 16 bytes", net.IPv4(1, 2, 3, 4), ""}, {"net.IP nil", net.IP(nil), ""},
		{"net.IPMask", net.CIDRMask(8, 32), ""}, {"net.IPNet", *network, ""}, {"net.HardwareAddr", net.HardwareAddr{1, 2, 3, 4, 5, 6}, ""},
		{"net.TCPAddr", net.TCPAddr{IP: net.IPv6loopback, Port: 4, Zone: "lo"}, ""}, {"net.UDPAddr", net.UDPAddr{IP: net.IP{1, 2, 3, 4}}, ""},
		{"net.UnixAddr", net.UnixAddr{Name: "n", Net: "unix"}, ""}, {"net.Interface", net.Interface{Index: 1, MTU: 2, Name: "n", Flags: net.FlagUp}, ""},
		{"net.SRV", net.SRV{Target: "t", Port: 1}, ""}, {"mail.Address", mail.Address{Name: "n", Address: "a@b"}, ""},
		{"textproto.MIMEHeader", textproto.MIMEHeader{"K": {"v", "w"}}, ""},
		{"netip.Addr", netip.MustParseAddr("fe80::1%eth0"), ""}, {"netip.Addr zero", netip.Addr{}, ""},
		{"netip.AddrPort", netip.MustParseAddrPort("[::1]:5"), ""}, {"netip.Prefix", netip.MustParsePrefix("10.0.0.0/8"), ""},
		{"netip.Prefix invalid", netip.PrefixFrom(netip.MustParseAddr("1.2.3.4"), 99), ""},
		{"url.URL", *parsed, ""}, {"url.URL made by hand", url.URL{Host: "h", Path: "no/slash"}, "reads back as another value"},
		{"url.Values", url.Values{"a": {"b", ""}}, ""}, {"url.Userinfo", *url.User("u"), "none would arrive"},
		{"big.Int", *new(big.Int).Lsh(big.NewInt(-5), 300), ""}, {"big.Rat", *big.NewRat(-1, 3), ""}, {"big.Float", *third, ""},
		{"big.Float zero", big.Float{}, ""}, {"big.Float -Inf", *big.NewFloat(0).SetInf(true), ""},
		{"regexp.Regexp", *regexp.MustCompile(`a(b+)?c`), ""}, {"regexp.Regexp POSIX", *regexp.MustCompilePOSIX("a+|b"), "reads back as another value"},
		{"regexp.Regexp longest", *longest, "reads back as another value"},
		{"[16]byte", [16]byte{1, 2, 3}, ""}, {"uuid", uuid{1, 2, 3}, ""}, {"json.RawMessage", json.RawMessage(`{"a":1}`), ""},
		{"json.Number", json.Number("1e400"), ""}, {"slog.Level", slog.LevelWarn + 1, ""}, {"slog.Attr", slog.Int("a", 1), "none would arrive"},
		{"slog.LevelVar", *levelVar(slog.LevelError), ""}, {"slog.Source", slog.Source{Function: "f", File: "g", Line: 1}, ""},
		{"sql.NullString", sql.NullString{String: "s", Valid: true}, ""}, {"sql.NullInt64", sql.NullInt64{Int64: 1, Valid: true}, ""},
		{"sql.NullBool", sql.NullBool{Valid: true}, ""}, {"sql.NullFloat64", sql.NullFloat64{Float64: 1}, ""},
		{"sql.NullTime", sql.NullTime{Time: time.Unix(1, 2).UTC(), Valid: true}, ""}, {"sql.Null[int]", sql.Null[int]{V: 1, Valid: true}, ""},
		{"sql.Null[time]", sql.Null[time.Time]{V: time.Unix(1, 2).UTC(), Valid: true}, ""}, {"sql.Null[pointer]", sql.Null[*int]{V: &number, Valid: true}, ""},
		{"os.FileMode", os.ModeDir | 0o755, ""}, {"fs.FileMode", fs.FileMode(1), ""}, {"reflect.Kind", reflect.Map, ""},
		{"errors.New", errors.New("x"), "send the text"}, {"fmt.Errorf", fmt.Errorf("x: %w", os.ErrExist), "send the text"},
		{"errors.Join", errors.Join(os.ErrExist), "send the text"},
		{"net.DNSError", net.DNSError{Err: "e", Name: "n", IsNotFound: true}, ""}, {"net.ParseError", net.ParseError{Type: "t", Text: "x"}, ""},
		{"url.Error", url.Error{Op: "o", URL: "u"}, ""}, {"url.Error with another within", url.Error{Op: "o", Err: errors.New("x")}, "send the text"},
		{"net.UnknownNetworkError", net.UnknownNetworkError("n"), ""},
		{"fs.PathError", fs.PathError{Op: "open", Path: "p", Err: net.UnknownNetworkError("n")}, ""},
		{"json.UnmarshalTypeError", json.UnmarshalTypeError{Value: "v"}, ""},
		{"bytes.Buffer", *bytes.NewBufferString("x"), "none would arrive"}, {"strings.Builder", &strings.Builder{}, "none would arrive"},
		{"sync.Mutex", &sync.Mutex{}, "none would arrive"}, {"atomic.Int64", &atomic.Int64{}, "none would arrive"},
		{"atomic.Value", &atomic.Value{}, "none would arrive"}, {"time.Timer", time.Timer{}, "chan"},
		{"complex128", complex(1, -2), ""}, {"complex64", complex64(complex(0.1, 0)), ""}, {"uintptr", uintptr(1) << 40, ""},
		{"struct{}", struct{}{}, ""}, {"set", map[string]struct{}{"a": {}}, ""}, {"list of struct{}", []struct{}{{}, {}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := register(c.v)
			var got any
			if said == "" {
				b, k, err := encoded(nil, c.v)
				if err == nil {
					got, err = decoded(k, b, false)
				}
				if err != nil {
					said = err.Error()
				}
			}
			switch {
			case c.refused != "" && !strings.Contains(said, c.refused):
				t.Errorf("got %+v, %q, want it refused with %q", got, said, c.refused)
			case c.refused == "" && said != "":
				t.Error(said)
			case c.refused == "" && !equal(got, pointedTo(c.v)):
				t.Errorf("got  %T %+v\nwant %T %+v", got, got, c.v, c.v)
			}
		})
	}
}

// uuid is what the usual packages for identifiers define, text for people included.
type uuid [16]byte

func (u uuid) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", u[:]), nil }
func (u *uuid) UnmarshalText(p []byte) error {
	_, err := fmt.Sscanf(string(p), "%x", (*[]byte)(nil))
	return err
}

func levelVar(l slog.Level) *slog.LevelVar {
	v := new(slog.LevelVar)
	v.Set(l)
	return v
}
