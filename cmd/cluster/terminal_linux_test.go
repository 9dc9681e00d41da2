package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal is a shell in a pseudo-terminal, as somebody who types has it.
type terminal struct {
	keyboard *os.File

	mu     sync.Mutex // guards what follows
	screen strings.Builder
}

// inTerminal starts a shell in the directory dir, in which cluster is this program. It ends
// with the test.
func inTerminal(t testing.TB, dir, shell string, args ...string) *terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine gives no pseudo-terminals:", err)
	}
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(shell, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+dir, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	side.Close()
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{keyboard: keyboard}
	read := make(chan struct{})
	go func() { // The end of the shell ends it; the cleanup waits for it.
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := keyboard.Read(b)
			term.mu.Lock()
			term.screen.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		<-read
		keyboard.Close()
	})
	eventually(t, "the shell prompts", func() bool { return strings.Contains(term.shown(), "> ") })
	return term
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// completes types text and a TAB, and checks what stands on the command line then. C-t
// shows that, and C-u clears the line.
func (term *terminal) completes(t testing.TB, text, want string) {
	t.Helper()
	term.mu.Lock()
	term.screen.Reset()
	term.mu.Unlock()
	if _, err := term.keyboard.WriteString(text + "\t\x14\x15"); err != nil {
		t.Fatal(err)
	}
	var line string
	defer func() {
		if t.Failed() {
			t.Logf("on the screen is\n%s", term.shown())
		}
	}()
	eventually(t, "the shell shows the line", func() bool {
		_, after, found := strings.Cut(term.shown(), "LINE<")
		var whole bool
		line, _, whole = strings.Cut(after, ">")
		return found && whole
	})
	if line != want {
		t.Errorf("%q becomes %q, want %q", text, line, want)
	}
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash := shellOrSkip(t, "bash")
	dir := completing(t)
	rc := write(t, dir, "rc", `PS1='> '
source <(cluster completion bash)
bind 'set bell-style none' 'set enable-bracketed-paste off'
bind -x '"\C-t": printf "\nLINE<%s>\n" "$READLINE_LINE"'
`, 0o644)
	terminal := inTerminal(t, dir, bash, "--noprofile", "--rcfile", rc, "-i")
	for _, c := range typed {
		terminal.completes(t, c.text, c.want)
	}
	terminal.completes(t, `cluster check with\ space.json --id=12`, `cluster check with\ space.json --id=12 `)
}

func TestZshCompletes(t *testing.T) {
	t.Parallel()
	zsh := shellOrSkip(t, "zsh")
	dir := completing(t)
	home := t.TempDir()
	write(t, home, ".zshrc", `PS1='> '
autoload -Uz compinit && compinit -D -u
source <(cluster completion zsh)
unsetopt zle_bracketed_paste beep list_beep
unset zle_bracketed_paste
show() { print -r "
LINE<$BUFFER>" }
zle -N show
bindkey '^T' show
`, 0o644)
	terminal := inTerminal(t, dir, "env", "ZDOTDIR="+home, zsh, "-d", "-i")
	for _, c := range typed {
		terminal.completes(t, c.text, c.want)
	}
}

// typed is what is typed before a TAB, and the whole line behind it.
var typed = []struct{ text, want string }{
	{"cluster keyg", "cluster keygen "},
	{"cluster help lis", "cluster help listen "},
	{"cluster check Conf", "cluster check Config.json "},
	{"cluster check Config.json --without", "cluster check Config.json --without-key "},
	{"cluster check Config.json -id 12", "cluster check Config.json -id 12 "},
	{"cluster send Config.json -id 0 --to 0,12", "cluster send Config.json -id 0 --to 0,12 "},
	{"cluster ping Config.json -id 0 --to a", "cluster ping Config.json -id 0 --to all "},
	{"cluster keygen -id 3 --dir ke", "cluster keygen -id 3 --dir keys/"},
	{"cluster completion f", "cluster completion fish "},
}

func TestTopRenewsATerminalUntilAKeyEndsIt(t *testing.T) {
	t.Parallel()
	bash := shellOrSkip(t, "bash")
	dir, _ := configured(t, 2)
	pages := withPages(t, dir, 2)
	serving(t, dir, "Config.json", "-id", "1", "--quiet")
	terminal := inTerminal(t, dir, "env", "PS1=> ", bash, "--noprofile", "--norc", "--noediting", "-i")
	for _, end := range []string{"q", "\x03"} {
		if _, err := terminal.keyboard.WriteString("cluster top --interval 100ms Config.json; echo ended with $?.\n"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "one of two servers answers", func() bool {
			return strings.Contains(terminal.shown(), "1 of 2 servers answer") && strings.Contains(terminal.shown(), pages[1])
		})
		if _, err := terminal.keyboard.WriteString(end); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has ended", func() bool { return strings.Contains(terminal.shown(), "ended with 0.") })
		terminal.mu.Lock()
		terminal.screen.Reset()
		terminal.mu.Unlock()
	}
}
