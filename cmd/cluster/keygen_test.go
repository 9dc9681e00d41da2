package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
)

// written are configurations as people and programs write them, with addresses to be
// filled in, and the same after keygen, where K stands for a key.
var written = []struct{ name, before, after string }{
	{"as in the README", `{
  "cluster": "demo",
  "peers": [
    { "id": 0, "address": "A" },
    { "id": 1, "address": "A" }
  ]
}
`, `{
  "cluster": "demo",
  "peers": [
    { "id": 0, "address": "A", "public_key": "K" },
    { "id": 1, "address": "A", "public_key": "K" }
  ]
}
`},
	{"the program's own fields, and every way to space", `  {"ElectionTimeout" : [1,2 , {"peers":"}]\"{"}],
	"Peers":[ {"Address"  :"A","Id":7 ,"FSAddress":	"x"}  ,
	{
		"id"	: 1
		,	"address"	: "A"
		,	"log"	: {"file": null, "}": [ ]}

	}
	]  , "InboxSize": 10}


`, `  {"ElectionTimeout" : [1,2 , {"peers":"}]\"{"}],
	"Peers":[ {"Address"  :"A","Id":7 ,"FSAddress":	"x" ,"public_key":	"K"}  ,
	{
		"id"	: 1
		,	"address"	: "A"
		,	"log"	: {"file": null, "}": [ ]}
		,	"public_key"	: "K"

	}
	]  , "InboxSize": 10}


`},
	{"an array", `[
  {"ID": "0", "IP": "127.0.0.1", "Port": "P"},
  {"ID": "1", "IP": "127.0.0.1", "Port": "P"}
]`, `[
  {"ID": "0", "IP": "127.0.0.1", "Port": "P", "public_key": "K"},
  {"ID": "1", "IP": "127.0.0.1", "Port": "P", "public_key": "K"}
]`},
	{"entries one after another", `{"ID":"0","IP":"127.0.0.1","Port1":P,"Port2":9081} {"ID":"1","IP":"127.0.0.1","Port1":P,"Port2":9082}`,
		`{"ID":"0","IP":"127.0.0.1","Port1":P,"Port2":9081,"public_key":"K"} {"ID":"1","IP":"127.0.0.1","Port1":P,"Port2":9082,"public_key":"K"}`},
	{"one entry, not in an array", `{"ID":0,"IP":"127.0.0.1","Port":P}`, `{"ID":0,"IP":"127.0.0.1","Port":P,"public_key":"K"}`},
	{"the ends of lines of Windows, and a byte order mark", "\uFEFF{\"peers\": [\r\n  {\r\n    \"id\": 0,\r\n    \"address\": \"A\"\r\n  }\r\n]}\r\n",
		"\uFEFF{\"peers\": [\r\n  {\r\n    \"id\": 0,\r\n    \"address\": \"A\",\r\n    \"public_key\": \"K\"\r\n  }\r\n]}\r\n"},
	{"escapes", `{"\u0070eers":[{"i\u0064":0,"address":"A","note\"}":"\\\"}"}]}`,
		`{"\u0070eers":[{"i\u0064":0,"address":"A","note\"}":"\\\"}","public_key":"K"}]}`},
	{"replicas with entries", `{"replicas":1,"replicaAddress":"127.0.0.{id}:8081","peers":[{"id":1,"address":"A"},{"id":0}]}`,
		`{"replicas":1,"replicaAddress":"127.0.0.{id}:8081","peers":[{"id":1,"address":"A","public_key":"K"},{"id":0, "public_key":"K"}]}`},
	{"an empty key", `{"peers":[{"id":0,"public_key":"","address":"A"}]}`, `{"peers":[{"id":0,"public_key":"K","address":"A"}]}`},
	{"keys in a directory", `{"keyDir":"keys","peers":[{"id":0,"address":"A"}]}`, `{"keyDir":"keys","peers":[{"id":0,"address":"A","public_key":"K"}]}`},
}

var aKey = regexp.MustCompile(`"(public_key|previous_public_key)"(\s*:\s*)"[^"]{40}"`)

// masked puts K in the place of the keys.
func masked(text string) string { return aKey.ReplaceAllString(text, `"$1"$2"K"`) }

func TestKeygenGivesEachServerAKeyAndChangesNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range written {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fill := func(text string) func(at []string) string {
				return func(at []string) string {
					for _, a := range at {
						_, port, _ := strings.Cut(a, ":")
						text = strings.Replace(text, `"A"`, `"`+a+`"`, 1)
						text = strings.Replace(strings.Replace(text, `"P"`, `"`+port+`"`, 1), `:P`, `:`+port, 1)
					}
					return text
				}
			}
			at := addresses(t, 2)
			dir := t.TempDir()
			write(t, dir, "Config.json", fill(c.before)(at), 0o640)
			call(t, dir, "", "keygen", "Config.json").want(t, 0)

			if diff := cmp.Diff(fill(c.after)(at), masked(read(t, filepath.Join(dir, "Config.json")))); diff != "" {
				t.Errorf("the configuration (want -, got +):\n%s", diff)
			}
			if info, err := os.Stat(filepath.Join(dir, "Config.json")); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the mode of the configuration is %v, %v, want 0640 as before", info.Mode(), err)
			}
			cfg := load(t, dir)
			for _, p := range cfg.Peers {
				secret, err := keyfile.Read(keyfile.Path(filepath.Join(dir, "Config.json"), cfg.KeyDir, p.ID))
				if err != nil {
					t.Fatal(err)
				}
				if public, err := curve.Public(secret); err != nil || public != p.PublicKey {
					t.Errorf("the key of server %d is that of %q, %v, want %q", p.ID, public, err, p.PublicKey)
				}
				node(t, dir, p.ID)
			}
			if got := files(t, dir); strings.Contains(got, "/.") || strings.HasPrefix(got, ".") {
				t.Errorf("temporary files are left: %s", got)
			}
		})
	}
}

func TestKeygenSaysWhatItWrote(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 3)
	got := call(t, dir, "", "keygen", "Config.json").want(t, 0)
	want := `0.key: the secret key of server 0, which nobody else may have
1.key: the secret key of server 1, which nobody else may have
2.key: the secret key of server 2, which nobody else may have
Config.json: has the public keys of servers 0, 1, 2 now

Next:
  1. Restart all servers. Those with keys do not hear those without, nor those with other keys.
     Those on this machine find the configuration and their keys where they are now.
`
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	before := read(t, filepath.Join(dir, "Config.json"))
	call(t, dir, "", "keygen", "Config.json").want(t, 0, "nothing to do")
	if read(t, filepath.Join(dir, "Config.json")) != before {
		t.Error("the second call changed the configuration")
	}
}

func TestKeygenOfOneServerNeverOverwritesItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := call(t, dir, "", "keygen", "-id", "3").want(t, 0, "3.key", `"public_key": "`)
	secret, err := keyfile.Read(filepath.Join(dir, "3.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, _ := curve.Public(secret)
	if !strings.Contains(got.out, public) {
		t.Errorf("the public key %q was not printed:\n%s", public, got.out)
	}
	if strings.Contains(got.out+got.err, secret) {
		t.Error("the secret key was printed")
	}
	before := read(t, filepath.Join(dir, "3.key"))
	call(t, dir, "", "keygen", "--id", "3").want(t, 1, "3.key exists already", "nothing was changed")
	if read(t, filepath.Join(dir, "3.key")) != before {
		t.Error("the key was overwritten")
	}
	call(t, dir, "", "keygen", "-id=3", "--force").want(t, 0)
	if read(t, filepath.Join(dir, "3.key")) == before {
		t.Error("--force did not overwrite the key")
	}
	call(t, dir, "", "keygen", "-id", "4", "--dir", "keys").want(t, 0)
	if got := files(t, dir) + " " + files(t, filepath.Join(dir, "keys")); got != "3.key keys 4.key" {
		t.Errorf("there are %s", got)
	}
}

func TestKeygenKeepsTheKeyThatAServerHas(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	call(t, dir, "", "keygen", "-id", "1").want(t, 0)
	before := read(t, filepath.Join(dir, "1.key"))
	call(t, dir, "", "keygen", "Config.json").want(t, 0, "1.key: was there already")
	if read(t, filepath.Join(dir, "1.key")) != before {
		t.Error("the key was overwritten")
	}
	node(t, dir, 1)
}

func TestKeygenGivesAKeyToAServerThatIsAdded(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 2)
	config := filepath.Join(dir, "Config.json")
	before := read(t, config)
	added := strings.Replace(before, "\n  ]", fmt.Sprintf(",\n    { \"id\": 2, \"address\": %q }\n  ]", addresses(t, 1)[0]), 1)
	write(t, dir, "Config.json", added, 0o644)
	call(t, dir, "", "keygen", "Config.json", "-id", "2").want(t, 0, "2.key", "public key of server 2 now")
	for id := range 3 {
		node(t, dir, id)
	}
}

// Each of these leaves everything as it is.
func TestKeygenThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		args  []string
		code  int
		want  []string
	}{
		{"no file", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "Config.json")) },
			[]string{"Config.json"}, 1, []string{"no such file"}},
		{"no JSON", func(t *testing.T, dir string) { write(t, dir, "Config.json", "{\"peers\": [\n  oops", 0o644) },
			[]string{"Config.json"}, 1, []string{"Config.json:2:3: not valid JSON"}},
		{"a fault in it", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"peers":[{"id":0,"adress":"127.0.0.1:1"}, 5]}`, 0o644)
		}, []string{"Config.json"}, 1, []string{`did you mean "address"?`, "peers[1]: got the number 5"}},
		{"no such server", func(*testing.T, string) {}, []string{"Config.json", "-id", "9"}, 1, []string{"no entry has the id 9"}},
		{"one of two", func(*testing.T, string) {}, []string{"Config.json", "-id", "1"}, 1, []string{"leave out -id to make keys for all (nothing was changed)"}},
		{"a key file open to others", func(t *testing.T, dir string) {
			write(t, dir, "1.key", "x\n", 0o644)
		}, []string{"Config.json"}, 1, []string{"server 1", "chmod 600 1.key", "mv 1.key 1.key.unusable"}},
		{"a directory in the way", func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "1.key"), 0o700) },
			[]string{"Config.json", "--force"}, 1, []string{"it is a directory", "nothing was changed"}},
		{"a file for a directory", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"keyDir":"new/a/b","peers":[{"id":0,"address":"127.0.0.1:1"},{"id":1,"address":"127.0.0.1:2"}]}`, 0o644)
			os.Mkdir(filepath.Join(dir, "new"), 0o700)
			write(t, filepath.Join(dir, "new"), "a", "a file", 0o600)
		}, []string{"Config.json"}, 1, []string{"new/a/b/0.key: not a directory", "nothing was changed"}},
		{"a file for the last directory", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"keyDir":"a","peers":[{"id":0,"address":"127.0.0.1:1"}]}`, 0o644)
			write(t, dir, "a", "a file", 0o600)
		}, []string{"Config.json"}, 1, []string{"a/0.key: not a directory", "nothing was changed"}},
		{"a directory for no files", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"keyDir":"/proc","peers":[{"id":0,"address":"127.0.0.1:1"}]}`, 0o644)
		}, []string{"Config.json"}, 1, []string{"write /proc/0.key: ", "nothing was changed"}},
		{"replicas without entries", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"replicas":3,"replicaAddress":"127.0.0.1:900{id}"}`, 0o644)
		}, []string{"Config.json"}, 1, []string{`replicas have no entry of their own: list each in peers, as in {"id": 0}`}},
		{"one replica without an entry", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"Replicas":1,"replicaAddress":"127.0.0.1:900{id}"}`, 0o644)
		}, []string{"Config.json"}, 1, []string{"replicas have no entry of their own"}},
		{"replicas of which one has no entry", func(t *testing.T, dir string) {
			write(t, dir, "Config.json", `{"replicas":3,"replicaAddress":"127.0.0.1:900{id}","peers":[{"id":0},{"id":2}]}`, 0o644)
		}, []string{"Config.json"}, 1, []string{"replicas have no entry of their own"}},
		{"rotation without keys", func(*testing.T, string) {}, []string{"Config.json", "-id", "1", "--rotate"}, 1, []string{"server 1 has no key yet", "cluster keygen Config.json\n"}},
		{"rotation of a server that is not there", func(*testing.T, string) {}, []string{"Config.json", "-id", "9", "--rotate"}, 1, []string{"no entry has the id 9; the ids are [0 1]"}},
		{"rotation of no one", func(*testing.T, string) {}, []string{"Config.json", "--rotate"}, 2, []string{"need -id"}},
		{"nothing named", func(*testing.T, string) {}, nil, 2, []string{"see cluster keygen --help"}},
		{"an id out of range", func(*testing.T, string) {}, []string{"-id", "65536"}, 2, []string{"want 0 to 65535"}},
		{"an id that is none", func(*testing.T, string) {}, []string{"-id", "three"}, 2, []string{"three"}},
		{"too much named", func(*testing.T, string) {}, []string{"Config.json", "b.json"}, 2, []string{`"b.json" is one argument too many`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := configured(t, 2)
			c.spoil(t, dir)
			before := snapshot(t, dir)
			call(t, dir, "", append([]string{"keygen"}, c.args...)...).want(t, c.code, c.want...)
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("something has changed (before -, now +):\n%s", diff)
			}
		})
	}
}

// snapshot is the content of all files of a directory.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[path] = read(t, path)
		} else {
			all[path] = d.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestACreatedFileTakesNothingsPlace(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a", "old", 0o600)
	for name, create := range map[string]func(*staged) error{"link": (*staged).create, "open": (*staged).createExclusively} {
		s, err := stage(path, []byte("new"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := create(s); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v, want that the file exists", name, err)
		}
		s.discard()
		if got := read(t, path); got != "old" {
			t.Errorf("%s: the file holds %q", name, got)
		}
		if s, err = stage(filepath.Join(dir, name), []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := create(s); err != nil || read(t, filepath.Join(dir, name)) != "new" {
			t.Errorf("%s: %v", name, err)
		}
		s.discard()
	}
	if got := files(t, dir); got != "a link open" {
		t.Errorf("there are %s", got)
	}
}

func TestKeygenMakesTheDirectoriesOfKeys(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 1)
	config := filepath.Join(dir, "Config.json")
	write(t, dir, "Config.json", strings.Replace(read(t, config), "{", `{"keyDir": "a/b c/d",`, 1), 0o644)
	call(t, dir, "", "keygen", "Config.json").want(t, 0, "a/b c/d/0.key")
	for _, d := range []string{"a", "a/b c", "a/b c/d"} {
		if info, err := os.Stat(filepath.Join(dir, d)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: got %v, %v, want a directory for its owner alone", d, info, err)
		}
	}
	node(t, dir, 0)
}

// Nobody hears an old key after --force, which makes new ones for servers that have some.
func TestForceMakesNewKeysForServersThatHaveSome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args    []string
		changed []bool
	}{
		"all":           {nil, []bool{true, true, true}},
		"one":           {[]string{"-id", "1"}, []bool{false, true, false}},
		"one by number": {[]string{"-id=2", "--json"}, []bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := keyed(t, 3)
			before := load(t, dir)
			call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 0)
			call(t, dir, "", append([]string{"keygen", "Config.json", "--force"}, c.args...)...).want(t, 0)
			after := load(t, dir)
			for i, want := range c.changed {
				if changed := after.Peers[i].PublicKey != before.Peers[i].PublicKey; changed != want && i != 1 {
					t.Errorf("the key of server %d has changed: %t, want %t", i, changed, want)
				}
				if rotated := after.Peers[i].PreviousPublicKey != ""; rotated != (i == 1 && !want) {
					t.Errorf("server %d has a previous key: %t", i, rotated)
				}
				node(t, dir, i) // it has its key
			}
		})
	}
}

func TestASymbolicLinkToTheConfigurationStaysOne(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 1)
	elsewhere := filepath.Join(t.TempDir(), "real.json")
	if err := os.Rename(filepath.Join(dir, "Config.json"), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "Config.json")); err != nil {
		t.Skip(err)
	}
	call(t, dir, "", "keygen", "Config.json").want(t, 0)
	if !strings.Contains(read(t, elsewhere), "public_key") {
		t.Error("the file that the link is to has no key")
	}
	node(t, dir, 0) // its key is beside the link, where the library looks for it
}
