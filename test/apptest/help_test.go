package apptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bash runs a script with the tools of install-tools and bash's own environment.
func (s *shell) shellOf(name, dir, script string, env ...string) (string, error) {
	s.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		s.t.Skipf("LOUD SKIP: no %s here", name)
	}
	link := filepath.Join(s.tools, "moldau") // the sub-command under its own name, too
	program, err := os.Readlink(filepath.Join(s.tools, "kafka-topics"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink(program, link); err != nil && !os.IsExist(err) {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), path, "-c", script)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(s.env), "PATH="+s.tools+string(os.PathListSeparator)+os.Getenv("PATH"), "TERM=xterm")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var (
	toolLine = regexp.MustCompile(`(?m)^  ([a-z0-9-]+) {2,}`)
	// A broker without security refuses what is said to need more.
	needs = regexp.MustCompile(`\(needs .*\)`)
)

// TestExamplesOfHelp runs every example that the tools' help shows, word for word but for the port.
func TestExamplesOfHelp(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := t.TempDir()
	b := s.start(filepath.Join(dir, "moldau-data"), "--override", "num.partitions=1", "--override", "group.initial.rebalance.delay.ms=0")
	at := []string{"--topic", "orders", "--bootstrap-server", b.bootstrap}
	s.must(strings.Repeat("an order\n", 20), "kafka-console-producer.sh", at...)
	s.must("", "kafka-console-consumer.sh", append(at, "--group", "billing", "--from-beginning", "--max-messages", "5")...)
	_, overview, _ := strings.Cut(s.must("", "moldau", "--help"), "Kafka's tools:")
	overview, _, _ = strings.Cut(overview, "\n\n")
	count := 0
	for _, match := range toolLine.FindAllStringSubmatch(overview, -1) {
		_, out, errs := s.run("", "moldau", match[1], "--help")
		_, shown, _ := strings.Cut(out+errs, "Examples:\n")
		purpose := ""
		for line := range strings.Lines(shown) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				purpose = line
				continue
			}
			if line == "" {
				break
			}
			count++
			text, err := s.shellOf("bash", dir, strings.ReplaceAll(line, "localhost:9092", b.bootstrap))
			if (err != nil) != needs.MatchString(purpose) {
				t.Errorf("%s\n%s\n%v\n%s", purpose, line, err, text)
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d examples were found", count)
	}
}

// TestCompletionInBash has bash itself split lines and ask.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir())
	s.must("", "kafka-topics.sh", "--bootstrap-server", b.bootstrap, "--create", "--topic", "orders")
	s.must("", "kafka-topics.sh", "--bootstrap-server", b.bootstrap, "--create", "--topic", "orders-late")
	host, port, _ := strings.Cut(b.bootstrap, ":")
	for words, want := range map[string]string{
		"kafka-topics --creat":                       "--create",
		"kafka-topics.sh --creat":                    "--create",
		"moldau top":                                 "topics",
		"moldau audi":                                "audit",
		"moldau start --da":                          "--data-dir",
		"moldau completion f":                        "fish",
		"kafka-leader-election --election-type = UN": "UNCLEAN", // bash takes = for a word
		"kafka-topics --bootstrap-server " + host + " : " + port + " --describe --topic ord": "orders orders-late",
	} {
		line := strings.ReplaceAll(strings.ReplaceAll(words, " = ", "="), " : ", ":")
		out, err := s.shellOf("bash", t.TempDir(), `source <(moldau completion bash) && COMP_LINE='`+line+`' COMP_WORDS=(`+words+`)
			COMP_POINT=${#COMP_LINE} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _moldau; echo "${COMPREPLY[@]}"; complete -p kafka-topics.sh >/dev/null`)
		if got := strings.TrimSpace(out); err != nil || got != want {
			t.Errorf("%s: %v %q, want %q", line, err, got, want)
		}
	}
}

// TestInstalledCompletion has each shell read the script that install-tools wrote.
func TestInstalledCompletion(t *testing.T) {
	t.Parallel()
	for shell, script := range map[string]string{
		"bash": `source SCRIPT && COMP_LINE='kafka-groups.sh --prot' COMP_WORDS=(kafka-groups.sh --prot) COMP_POINT=22 COMP_CWORD=1; _moldau; echo "${COMPREPLY[@]}"; complete -p kafka-groups.sh >/dev/null`,
		"zsh":  `autoload -Uz compinit && compinit -u -D; source SCRIPT; _describe() { print -r -- ${(P)3} }; words=(kafka-groups.sh --prot); CURRENT=2; _moldau`,
		"fish": `source SCRIPT; complete -C 'kafka-groups.sh --prot'`,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			script := strings.ReplaceAll(script, "SCRIPT", filepath.Join(s.tools, "completion", "moldau."+shell))
			if out, err := s.shellOf(shell, t.TempDir(), script); err != nil || !strings.HasPrefix(out, "--protocol") {
				t.Errorf("%v %q", err, out)
			}
		})
	}
}

// TestCompletionInFish has fish complete a line.
func TestCompletionInFish(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for line, want := range map[string]string{"kafka-topics --creat": "--create", "moldau consumer-g": "consumer-groups"} {
		out, err := s.shellOf("fish", t.TempDir(), "moldau completion fish | source; complete -C '"+line+"'")
		if first, _, _ := strings.Cut(out, "\t"); err != nil || first != want {
			t.Errorf("%s: %v %q, want %q", line, err, out, want)
		}
	}
}

// TestCompletionInZsh runs the script in zsh with what the line editor gives such functions.
func TestCompletionInZsh(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for line, want := range map[string]string{"kafka-topics --creat": "--create:", "moldau consumer-g": "consumer-groups:"} {
		out, err := s.shellOf("zsh", t.TempDir(), `autoload -Uz compinit && compinit -u -D; source <(moldau completion zsh)
			_describe() { print -r -- ${(P)3} }; words=(`+line+`); CURRENT=$#words; _moldau; print -r -- $_comps[kafka-topics.sh]`)
		if err != nil || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, "\n_moldau\n") {
			t.Errorf("%s: %v %q, want %q", line, err, out, want)
		}
	}
}
