package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// topLive shows the model on a terminal until somebody ends it, or ctx ends.
func topLive(ctx context.Context, in, out *os.File, m *topModel) error {
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithAltScreen(), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // it goes on until then
	}
	return err
}

// A topModel is what top shows.
type topModel struct {
	ctx           context.Context // of the program; the commands that it starts have nothing else to take it from
	client        *http.Client
	pages         []string
	interval      time.Duration
	width, height int

	before, now []watched
	at          time.Time // when now was asked for
	first       int       // of the lines that are shown
}

// looked is the message that the servers were asked.
type looked struct {
	at  time.Time
	all []watched
}

// due is the message that it is time to ask again.
type due struct{}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return m.look }

// look asks the servers.
func (m *topModel) look() tea.Msg {
	at := time.Now()
	return looked{at, watch(m.ctx, m.client, m.pages)}
}

// Update implements tea.Model.
func (m *topModel) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case looked:
		m.before, m.now, m.at = m.now, message.all, message.at
		return m, tea.Tick(max(0, m.interval-time.Since(m.at)), func(time.Time) tea.Msg { return due{} })
	case due:
		return m, m.look
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case tea.KeyMsg:
		return m, m.key(message.String())
	}
	return m, nil
}

// key does what a key means.
func (m *topModel) key(name string) tea.Cmd {
	page := max(1, m.height-3)
	switch name {
	case "q", "esc", "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.first--
	case "down", "j":
		m.first++
	case "pgup":
		m.first -= page
	case "pgdown", " ":
		m.first += page
	case "home", "g":
		m.first = 0
	case "end", "G":
		m.first = len(topLines(m.before, m.now, false))
	}
	return nil
}

// View implements tea.Model.
func (m *topModel) View() string {
	if m.now == nil {
		return "asking " + strings.Join(m.pages, ", ") + "\n"
	}
	answered := 0
	for _, w := range m.now {
		if w.Report != nil {
			answered++
		}
	}
	lines := topLines(m.before, m.now, true)
	room := max(1, m.height-2) // below the title, and above the last line
	m.first = max(0, min(m.first, len(lines)-room))
	shown := lines[m.first:min(len(lines), m.first+room)]
	title := fmt.Sprintf("%d of %d servers answer, %s, q to quit", answered, len(m.now), m.at.Format(time.TimeOnly))
	if hidden := len(lines) - len(shown); hidden > 0 {
		title += fmt.Sprintf(", lines %d to %d of %d", m.first+1, m.first+len(shown), len(lines))
	}
	var b strings.Builder
	for _, line := range append([]string{title}, shown...) {
		if m.width > 0 {
			line = ansi.Truncate(line, m.width, "…")
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
