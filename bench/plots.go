package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotted is a plot that was written, and what it shows.
type plotted struct{ file, says string }

// draw writes the plots for which there are figures.
func (r results) draw(dir string) (all []plotted, err error) {
	for _, d := range []struct {
		plotted
		panels []panel
		across int // panels beside one another
	}{
		{plotted{"throughput.svg", "Messages per second one way, as a multiple of those of the bare loop, by size"}, []panel{r.throughput()}, 1},
		{plotted{"latency.svg", "Round trip of 16 bytes, percentiles"}, []panel{r.latency()}, 1},
		{plotted{"growth.svg", "How deliveries, memory, threads and start grow with the number of servers in one process"}, r.growth(), 2},
	} {
		if !slices.ContainsFunc(d.panels, func(p panel) bool { return len(p.lines) > 0 }) {
			continue
		}
		if err := write(filepath.Join(dir, d.file), d.panels, d.across); err != nil {
			return nil, err
		}
		all = append(all, d.plotted)
	}
	return all, nil
}

// colours are from the palette of Okabe and Ito, which most colour-blind people can
// tell apart. A peer without one is in no plot.
var colours = map[string]color.NRGBA{
	channels.name:       {0, 114, 178, 255},
	direct.name:         {86, 180, 233, 255},
	channelsOnGo.name:   {240, 228, 66, 255},
	bare.name:           {0, 0, 0, 255},
	tcp.name:            {213, 94, 0, 255},
	goZeroMQ.name:       {204, 121, 167, 255},
	natsPeer.name:       {0, 158, 115, 255},
	grpcPeer.name:       {230, 159, 0, 255},
	memberlistPeer.name: {140, 140, 140, 255},
}

// A panel is one plot: a line for each peer over steps that are named.
type panel struct {
	title, across string // the title says what goes up, and in which unit
	steps         []string
	lines         []line
}

type line struct {
	name   string
	points map[int]summary // by step
}

// panel makes a line for each peer that has figures; figure returns those of a step.
func (r results) panel(title, across string, steps []string, figure func(peer string, step int) (summary, bool)) panel {
	p := panel{title, across, steps, nil}
	for _, who := range peers {
		l := line{who.name, make(map[int]summary)}
		for i := range steps {
			if s, ok := figure(who.name, i); ok && s.low > 0 {
				l.points[i] = s
			}
		}
		if _, shown := colours[who.name]; shown && len(l.points) > 0 {
			p.lines = append(p.lines, l)
		}
	}
	return p
}

func (r results) throughput() panel {
	var sizes []string
	for _, l := range loads {
		if l.size > 0 {
			sizes = append(sizes, l.name)
		}
	}
	return r.panel("Messages per second one way, as a multiple of the bare loop's", "size of a message", sizes,
		func(peer string, i int) (summary, bool) {
			return r.ratio(key(stream, sizes[i], 2), peer, bare.name, "rate")
		})
}

func (r results) latency() panel {
	var steps []string
	for _, p := range percentiles {
		steps = append(steps, p.name)
	}
	return r.panel("Round trip of 16 bytes, in µs (lower is better)", "percentile", steps, func(peer string, i int) (summary, bool) {
		return r.absolute(key(roundTrip, smallLoad, 2), peer, steps[i])
	})
}

func (r results) growth() []panel {
	grown := func(k kind, load string, servers []int, title, figure string, scale float64) panel {
		var steps []string
		for _, n := range servers {
			steps = append(steps, fmt.Sprint(n))
		}
		return r.panel(title, "servers in one process", steps, func(peer string, i int) (summary, bool) {
			s, ok := r.absolute(key(k, load, servers[i]), peer, figure)
			return summary{s.median * scale, s.low * scale, s.high * scale}, ok
		})
	}
	return []panel{
		grown(allToAll, groupLoad, growthServers, "All to all, 256 bytes: thousands of deliveries per second", "rate", 1e-3),
		grown(nodes, smallLoad, nodesServers, "Resident memory, in MiB", "resident", 1),
		grown(nodes, smallLoad, nodesServers, "Threads", "threads", 1),
		grown(nodes, smallLoad, nodesServers, "From start until all have received, in ms", "until", 1),
	}
}

// write draws the panels into one file.
func write(file string, panels []panel, across int) error {
	width, height := vg.Length(620), vg.Length(400)
	down := (len(panels) + across - 1) / across
	if across > 1 {
		width, height = 470, 330
	}
	canvas := vgsvg.New(width*vg.Length(across), height*vg.Length(down))
	tiles := draw.Tiles{Rows: down, Cols: across, PadX: 14, PadY: 14, PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 8}
	grid := make([][]*plot.Plot, down)
	for i, p := range panels {
		grid[i/across] = append(grid[i/across], p.plot())
	}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	for i, row := range plot.Align(grid, tiles, whole) {
		for j, c := range row {
			grid[i][j].Draw(c)
		}
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// Few who read have the font; these are as wide.
	text := strings.ReplaceAll(b.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;")
	return os.WriteFile(file, []byte(text), 0o644)
}

func init() { plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"} }

// plot lays the panel out. The axis up is logarithmic. The names of the lines stand
// beside their ends, for which there is room to the right of the last step.
func (p panel) plot() *plot.Plot {
	q := plot.New()
	q.Title.Text, q.X.Label.Text = p.title, p.across
	q.Title.TextStyle.Font.Size = 13
	q.Title.Padding = 8
	q.X.Label.TextStyle.Font.Size = 11
	last := float64(len(p.steps) - 1)
	q.X.Min, q.X.Max = -0.15, last*1.27
	low, high := math.Inf(1), 0.0
	for _, l := range p.lines {
		for _, s := range l.points {
			low, high = min(low, s.low), max(high, s.high)
		}
	}
	if high == 0 {
		low, high = 1, 10 // there is nothing to show
	}
	q.Y.Min, q.Y.Max = low/1.3, high*1.3
	q.Y.Scale = plot.LogScale{}
	q.Y.Tick.Marker = plot.TickerFunc(logTicks)
	var steps []plot.Tick
	for i, s := range p.steps {
		steps = append(steps, plot.Tick{Value: float64(i), Label: s})
	}
	q.X.Tick.Marker = plot.ConstantTicks(steps)
	q.X.LineStyle.Width, q.X.Tick.LineStyle.Width = 0, 0.5
	q.Y.LineStyle.Width, q.Y.Tick.LineStyle.Width = 0.5, 0.5
	q.Add(p)
	return q
}

// logTicks are a few round figures for each power of ten: the fewer, the more powers.
func logTicks(low, high float64) (ticks []plot.Tick) {
	steps := []float64{1, 2, 5}
	switch powers := math.Log10(high / low); {
	case powers > 5:
		steps = []float64{1}
	case powers > 2:
		steps = []float64{1, 3}
	}
	for power := math.Floor(math.Log10(low)); power <= math.Log10(high); power++ {
		for _, s := range steps {
			if v := s * math.Pow(10, power); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
	return ticks
}

// GlyphBoxes implements plot.GlyphBoxer: the corners, so that the axes fill the room that
// they have.
func (p panel) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 0, Y: 0}, {X: 1, Y: 1}}
}

// Plot implements plot.Plotter.
func (p panel) Plot(c draw.Canvas, q *plot.Plot) {
	x, y := q.Transforms(&c)
	for _, t := range logTicks(q.Y.Min, q.Y.Max) {
		c.StrokeLine2(draw.LineStyle{Color: color.Gray{225}, Width: 0.5}, c.Min.X, y(t.Value), x(float64(len(p.steps)-1)), y(t.Value))
	}
	type name struct {
		line
		end, at vg.Point // of the line, and where its name stands
	}
	var all []name
	for n, l := range p.lines {
		aside := vg.Length(3 * (float64(n) - float64(len(p.lines)-1)/2)) // so that ranges do not cover one another
		tone, width := colours[l.name], vg.Length(1.4)
		if l.name == channels.name {
			width = 2.8
		}
		var points []vg.Point
		for i := range p.steps {
			s, ok := l.points[i]
			if !ok {
				continue
			}
			at := vg.Point{X: x(float64(i)) + aside, Y: y(s.median)}
			points = append(points, at)
			pale := tone
			pale.A = 110
			c.StrokeLine2(draw.LineStyle{Color: pale, Width: 1}, at.X, y(s.low), at.X, y(s.high))
			c.DrawGlyph(draw.GlyphStyle{Color: tone, Radius: 1.2 + width/2, Shape: draw.CircleGlyph{}}, at)
		}
		c.StrokeLines(draw.LineStyle{Color: tone, Width: width}, points)
		end := points[len(points)-1]
		all = append(all, name{l, end, end})
	}
	const apart = 13
	slices.SortStableFunc(all, func(a, b name) int { return cmp.Compare(a.at.Y, b.at.Y) })
	for range 100 { // push neighbours apart until they fit
		for i := 1; i < len(all); i++ {
			if over := apart - (all[i].at.Y - all[i-1].at.Y); over > 0 {
				all[i].at.Y += over / 2
				all[i-1].at.Y -= over / 2
			}
		}
	}
	for _, n := range all {
		style := q.X.Tick.Label
		style.Color, style.Font.Size, style.XAlign, style.YAlign = colours[n.name], 11, draw.XLeft, draw.YCenter
		if n.name == channels.name {
			style.Font.Weight = 3 // bold
		}
		from := x(float64(len(p.steps) - 1))
		c.StrokeLine2(draw.LineStyle{Color: colours[n.name], Width: 0.5}, n.end.X+4, n.end.Y, from+18, n.at.Y)
		c.FillText(style, vg.Point{X: from + 20, Y: n.at.Y}, n.name)
	}
}
