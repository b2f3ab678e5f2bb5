package apptest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

// refusal is a start that must fail with one line.
type refusal struct {
	name string
	args []string
	want string // the line, a pattern
}

// check runs the start and holds it to one clear line on stderr, nothing else, and an exit code.
func (r refusal) check(t *testing.T, s *shell, tool ...string) {
	t.Helper()
	command := append(append([]string{"moldau", "start"}, tool...), r.args...)
	if len(tool) > 0 {
		command = append(append([]string{}, tool...), r.args...)
	}
	code, out, errs := s.run("", command[0], command[1:]...)
	if code != 1 || out != "" {
		t.Errorf("%s: exit code %d, output %q", r.name, code, out)
	}
	if strings.Count(errs, "\n") != 1 || !regexp.MustCompile(r.want).MatchString(errs) {
		t.Errorf("%s: stderr is\n%swant one line: %s", r.name, errs, r.want)
	}
}

// TestRefusedBesideARunningBroker starts brokers that get in the way of one that runs.
func TestRefusedBesideARunningBroker(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	port, httpPort, dir := kafkatest.FreePort(t), kafkatest.FreePort(t), t.TempDir()
	start := []string{"start", "--data-dir", dir, "--port", fmt.Sprint(port), "--override", fmt.Sprintf("http.listen=localhost:%d", httpPort)}
	p := s.launch("moldau", start...)
	p.awaitOutput(ready)
	b := &server{p, dir, fmt.Sprintf("localhost:%d", port)}
	s.must("before\n", "kafka-console-producer.sh", "--topic", "t", "--bootstrap-server", b.bootstrap)
	file := write(t, filepath.Join(t.TempDir(), "file"), "no folder\n")
	free := func() string { return fmt.Sprint(kafkatest.FreePort(t)) }
	before := folder(t, dir)

	for _, r := range []refusal{
		{"port in use", []string{"--data-dir", t.TempDir(), "--port", fmt.Sprint(port), "--override", "http.listen="},
			fmt.Sprintf(`^cannot listen on localhost:%d .*address already in use.*--port`, port)},
		{"HTTP port in use", []string{"--data-dir", t.TempDir(), "--port", free(), "--override", fmt.Sprintf("http.listen=localhost:%d", httpPort)},
			fmt.Sprintf(`^cannot listen on localhost:%d for HTTP .*http\.listen.*address already in use`, httpPort)},
		{"locked folder", []string{"--data-dir", dir, "--port", free(), "--override", "http.listen="},
			`^the log dir ` + regexp.QuoteMeta(dir) + ` is in use by another broker: `},
		{"locked metadata folder", []string{"--data-dir", t.TempDir(), "--port", free(), "--override", "http.listen=", "--override", "metadata.log.dir=" + dir},
			`^the log dir ` + regexp.QuoteMeta(dir) + ` is in use by another broker: `},
		{"folder below a file", []string{"--data-dir", filepath.Join(file, "data"), "--port", free(), "--override", "http.listen="},
			`^cannot create the log dir ` + regexp.QuoteMeta(file) + `.*not a directory`},
		{"a file as folder", []string{"--data-dir", file, "--port", free(), "--override", "http.listen="},
			`^cannot create the log dir ` + regexp.QuoteMeta(file) + `.*not a directory`},
	} {
		r.check(t, s)
	}
	if got := read(t, file); got != "no folder\n" {
		t.Errorf("the file is now %q", got)
	}
	if after := folder(t, dir); after != before {
		t.Errorf("the running broker's folder was\n%s\nand is\n%s", before, after)
	}
	if !strings.Contains(get(t, fmt.Sprintf("http://localhost:%d/healthz", httpPort)), `"ok"`) {
		t.Error("the first broker is not healthy any more")
	}
	s.must("after\n", "kafka-console-producer.sh", "--topic", "t", "--bootstrap-server", b.bootstrap)
	consume := []string{"--topic", "t", "--from-beginning", "--max-messages", "2", "--bootstrap-server", b.bootstrap}
	if got := s.must("", "kafka-console-consumer.sh", consume...); got != "before\nafter\n" {
		t.Errorf("the first broker has %q", got)
	}
	// A kafka-server-stop later finds the first broker, whose run file the others left alone.
	s.must("", "kafka-server-stop.sh", "--node-id=1")
	if code := p.await(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A port that is in use by something that is no broker at all.
	listener, err := net.Listen("tcp", b.bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	refusal{"port in use by a stranger", start[1:], `^cannot listen on .*address already in use`}.check(t, s)
	listener.Close()
	p = s.launch("moldau", start...)
	p.awaitOutput(ready)
	if got := s.must("", "kafka-console-consumer.sh", consume...); got != "before\nafter\n" {
		t.Errorf("after the restart the broker has %q", got)
	}
}

// TestFolderOfANewerRelease is refused with one line, and left as it is.
func TestFolderOfANewerRelease(t *testing.T) {
	t.Parallel()
	s, dir := newShell(t), t.TempDir()
	properties := write(t, filepath.Join(dir, "meta.properties"), "version=1\nnode.id=1\ncluster.id=jVKI9tV5Rfu5n__-BQhKbg\ndirectory.id=BrWfqf2OQFSpYExB3DpNbQ\nmoldau.format=2\n")
	before := read(t, properties)
	refusal{"newer folder", []string{"--data-dir", dir, "--port", fmt.Sprint(kafkatest.FreePort(t)), "--override", "http.listen="},
		`^` + regexp.QuoteMeta(properties) + `: a newer release of Moldau has written this folder, in format 2; this release reads formats up to 1 and has changed nothing: start the newer release`}.check(t, s)
	if after := read(t, properties); after != before {
		t.Errorf("meta.properties is now %q", after)
	}
}

// folder lists a folder's files with what they hold that a second broker could damage.
func folder(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		// Checkpoints and snapshots are rewritten at any time by the broker itself.
		if name := entry.Name(); err == nil && (strings.HasSuffix(name, ".log") || name == "meta.properties" || name == "partition.metadata") {
			fmt.Fprintf(&b, "%s %d\n", path, info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRefusedFolders starts brokers on the data of others.
func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := t.TempDir()
	b := s.start(dir, "--override", "node.id=5")
	s.must("kept\n", "kafka-console-producer.sh", "--topic", "t", "--bootstrap-server", b.bootstrap)
	requireCleanStop(t, b, syscall.SIGTERM)
	meta := filepath.Join(dir, "meta.properties")
	original := read(t, meta)
	cluster := regexp.MustCompile(`(?m)^cluster\.id=(.*)$`).FindStringSubmatch(original)[1]
	common := []string{"--data-dir", dir, "--port", fmt.Sprint(kafkatest.FreePort(t)), "--override", "http.listen="}
	with := func(extra ...string) []string { return append(append([]string{}, common...), extra...) }
	at := `^` + regexp.QuoteMeta(meta)
	before := folder(t, dir)

	refusal{"another cluster", with("--override", "node.id=5", "--override", "cluster.id=AAAAAAAAAAAAAAAAAAAAAA"),
		at + `: the folder belongs to cluster ` + cluster + `, but this node is of cluster AAAAAAAAAAAAAAAAAAAAAA`}.check(t, s)
	refusal{"another node", with("--override", "node.id=6"),
		at + `: the folder belongs to node 5 of cluster ` + cluster + `, but node\.id is 6`}.check(t, s)
	for _, format := range []struct{ name, text, want string }{
		{"newer format", strings.Replace(original, "version=1", "version=2", 1), at + ` has format version "2"`},
		{"ZooKeeper's format", "version=0\nbroker.id=5\ncluster.id=" + cluster + "\n", at + ` has format version "0"`},
		{"no format", "cluster.id=" + cluster + "\nnode.id=5\n", at},
		{"no node", "version=1\ncluster.id=" + cluster + "\n", at + `.*node\.id`},
		{"nonsense", "\x00\x01\x02", at},
		{"emptiness", "", at},
	} {
		write(t, meta, format.text)
		refusal{format.name, with("--override", "node.id=5"), format.want}.check(t, s)
		if got := read(t, meta); got != format.text {
			t.Errorf("%s: meta.properties was rewritten to %q", format.name, got)
		}
	}
	write(t, meta, original)
	if after := folder(t, dir); after != before {
		t.Errorf("the folder was\n%s\nand is\n%s", before, after)
	}
	b = s.start(dir, "--override", "node.id=5", "--override", "cluster.id="+cluster)
	got := s.must("", "kafka-console-consumer.sh", "--topic", "t", "--from-beginning", "--max-messages", "1", "--bootstrap-server", b.bootstrap)
	if got != "kept\n" {
		t.Errorf("the right start has %q", got)
	}
}

// TestRefusedProperties gives what is no property, no value or no flag.
func TestRefusedProperties(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := filepath.Join(t.TempDir(), "never")
	file := func(text string) string {
		return write(t, filepath.Join(t.TempDir(), "server.properties"), "log.dirs="+dir+"\nhttp.listen=\n"+text)
	}
	bad := file("num.partitions=zero\n")
	for _, r := range []refusal{
		{"invalid number", []string{"--override", "num.partitions=zero"}, `^Invalid value zero for configuration num\.partitions: .`},
		{"out of range", []string{"--override", "num.partitions=0"}, `^Invalid value 0 for configuration num\.partitions: .*1`},
		{"invalid boolean", []string{"--override", "auto.create.topics.enable=maybe"}, `^Invalid value maybe for configuration auto\.create\.topics\.enable: .`},
		{"invalid choice", []string{"--override", "log.cleanup.policy=shred"}, `^Invalid value shred for configuration log\.cleanup\.policy: .*compact`},
		{"invalid listener", []string{"--override", "listeners=nine"}, `^Invalid value nine for configuration listeners: .*PLAINTEXT://`},
		{"listener not served yet", []string{"--override", "listeners=SSL://localhost:1"}, `^Invalid value SSL://localhost:1 for configuration listeners: .*not supported`},
		{"unknown property", []string{"--override", "num.partition=2"}, `^Unknown broker config name: num\.partition \(did you mean num\.partitions\?\)`},
		{"another unknown property", []string{"--override", "log.retention.hour=2"}, `^Unknown .* log\.retention\.hour \(did you mean log\.retention\.hours\?\)`},
		{"invalid in a file", []string{"--config", bad}, `^Invalid value zero for configuration num\.partitions: .`},
		{"unknown in a file", []string{"--config", file("advertised.listener=PLAINTEXT://localhost:1\n")}, `did you mean advertised\.listeners\?`},
		{"no file", []string{"--config", bad + ".not"}, `server\.properties\.not: .*no such file`},
		{"no value", []string{"--override", "node.id"}, `^--override node\.id: want name=value`},
		{"port out of range", []string{"--port", "70000"}, `^--port 70000: want a number from 1 to 65535`},
		{"port that is none", []string{"--port", "many"}, `^invalid argument "many" for "--port"`},
		{"unknown flag", []string{"--dir", "x"}, `^unknown flag: --dir \(moldau start --help lists the flags\)`},
		{"operand", []string{"server.properties"}, `^server\.properties: .* given with --config`},
		{"node ids that differ", []string{"--override", "node.id=1", "--override", "broker.id=2"}, `node\.id is 1 and broker\.id is 2`},
	} {
		if !strings.Contains(strings.Join(r.args, " "), "--config") {
			r.args = append([]string{"--data-dir", dir}, r.args...)
		}
		r.check(t, s)
	}
	// The tool by Kafka's name says the same.
	refusal{"kafka-server-start", []string{bad}, `^Invalid value zero for configuration num\.partitions: .`}.check(t, s, "kafka-server-start.sh")
	refusal{"kafka-server-start without file", []string{bad + ".not"}, `server\.properties\.not: .*no such file`}.check(t, s, "kafka-server-start.sh")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a refused start has made its folder: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(s.home, "cache", "moldau", "run", "*")); len(files) > 0 {
		t.Errorf("run files are left: %q", files)
	}
	code, _, errs := s.run("", "moldau", "begin")
	if code != 1 || errs != "unknown command \"begin\" for \"moldau\"\n" {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

// TestRefusedWithoutRights starts as a user who may not write the folder.
func TestRefusedWithoutRights(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.asNobody = os.Geteuid() == 0 // root may write everywhere
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{dir: 0o555, filepath.Dir(dir): 0o755, s.home: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "below")} {
		refusal{"a folder without rights", []string{"--data-dir", path, "--port", fmt.Sprint(kafkatest.FreePort(t)), "--override", "http.listen="},
			`^cannot (lock|create) the log dir ` + regexp.QuoteMeta(path) + `.*permission denied`}.check(t, s)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}
