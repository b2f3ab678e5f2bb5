package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns a pseudo-terminal: what is written to the second end is read from the first.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("LOUD SKIP: no pseudo-terminals here: %v", err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		terminal.Close()
		screen.Close()
	})
	return screen, terminal
}

// shown returns what a terminal shows: it writes a last word and reads up to that.
func shown(t *testing.T, screen, terminal *os.File) string {
	t.Helper()
	const last = "<end>"
	if _, err := terminal.WriteString(last); err != nil {
		t.Fatal(err)
	}
	var all []byte
	buffer := make([]byte, 4096)
	for !bytes.HasSuffix(all, []byte(last)) {
		n, err := screen.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buffer[:n]...)
	}
	return strings.TrimSuffix(string(all), last)
}

func TestColourOnATerminalOnly(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	screen, terminal := openTerminal(t)
	s := Streams{Out: &bytes.Buffer{}, Err: terminal, About: About{Program: "kafka-x", Examples: []Example{{"Do it", "kafka-x --topic t"}}}}
	p, _, _, _, _, _ := testParser()
	p.printHelp(s, "It does.")
	if got := shown(t, screen, terminal); !strings.Contains(got, "\x1b[1mExamples:\x1b[0m") || !strings.Contains(got, "  kafka-x --topic t") {
		t.Errorf("%q", got)
	}
	Exit(s, fmt.Errorf("it failed"))
	if got := shown(t, screen, terminal); !strings.Contains(got, "\x1b[31mit failed\x1b[0m") {
		t.Errorf("%q", got)
	}
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		t.Setenv("NO_COLOR", "")
		t.Setenv("TERM", "xterm")
		t.Setenv(name, value)
		p.printHelp(s, "It does.")
		if got := shown(t, screen, terminal); strings.Contains(got, "\x1b") || !strings.Contains(got, "Examples:") {
			t.Errorf("%s=%s: %q", name, value, got)
		}
	}
	var file bytes.Buffer
	s.Err = &file
	p.printHelp(s, "It does.")
	Exit(s, fmt.Errorf("it failed"))
	if strings.Contains(file.String(), "\x1b") {
		t.Errorf("%q", &file)
	}
}

func TestProgressOnATerminalOnly(t *testing.T) {
	t.Setenv("TERM", "xterm")
	screen, terminal := openTerminal(t)
	advance := func(s Streams) {
		p := s.Progress("Reading", 200)
		p.Add(50)
		p.drawn = time.Time{} // long ago
		p.Add(50)
		p.Clear()
		p.Clear()
	}
	advance(Streams{Out: &bytes.Buffer{}, Err: terminal})
	if got, want := shown(t, screen, terminal), "\rReading ["+strings.Repeat("#", 15)+strings.Repeat(".", 15)+"]  50%\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var file bytes.Buffer
	advance(Streams{Out: &bytes.Buffer{}, Err: &file})
	advance(Streams{Out: terminal, Err: terminal})
	if got := shown(t, screen, terminal); got != "" || file.Len() > 0 {
		t.Errorf("%q %q", got, &file)
	}
}
