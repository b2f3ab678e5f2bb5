package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The styles of texts on a terminal.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
)

// paint returns a function that styles a text, or leaves it as it is: where w is no terminal, and
// where NO_COLOR or TERM=dumb asks for that (https://no-color.org).
func (s Streams) paint(w io.Writer) func(style, text string) string {
	if !IsTerminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_, text string) string { return text }
	}
	return func(style, text string) string { return "\x1b[" + style + "m" + text + "\x1b[0m" }
}

// Progress is a bar on standard error that shows how far long work is. It shows nothing where standard
// error is no terminal, and where standard output is one, too: what the work prints there tells as
// much. One goroutine may use it at a time.
type Progress struct {
	w       io.Writer // nil: nothing is shown
	what    string
	total   int64
	done    int64
	drawn   time.Time
	visible bool
}

// progressEvery is how often a bar is drawn again; work that is done before is not worth a bar.
const progressEvery = 100 * time.Millisecond

const progressWidth = 30

// Progress returns a bar for work of total steps, such as bytes.
func (s Streams) Progress(what string, total int64) *Progress {
	p := &Progress{what: what, total: max(total, 1), drawn: time.Now()}
	if IsTerminal(s.Err) && !IsTerminal(s.Out) && os.Getenv("TERM") != "dumb" {
		p.w = s.Err
	}
	return p
}

// Add says that more steps are done.
func (p *Progress) Add(steps int64) { p.Set(p.done + steps) }

// Set says how many steps are done.
func (p *Progress) Set(steps int64) {
	p.done = steps
	if p.w == nil || time.Since(p.drawn) < progressEvery {
		return
	}
	p.drawn, p.visible = time.Now(), true
	done := min(p.done, p.total)
	filled := int(done * progressWidth / p.total)
	fmt.Fprintf(p.w, "\r%s [%s%s] %3d%%", p.what, strings.Repeat("#", filled), strings.Repeat(".", progressWidth-filled), done*100/p.total)
}

// Clear takes the bar away, so that something else can be written.
func (p *Progress) Clear() {
	if p.visible {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.visible = false
	}
}
