package lint

import (
	"slices"
	"strings"
	"testing"
)

// layers lists the packages from the bottom up (DESIGN: layout and import direction). A
// package imports packages of lower layers, and of its own only where sideways says so.
// A sub-package belongs to the layer of the longest prefix listed here.
var layers = [][]string{
	{"internal/kafka", "internal/metrics", "internal/env"},
	{"internal/wire", "internal/record", "internal/config", "internal/balance"},
	{"internal/storage", "internal/metadata", "internal/shard"},
	{"internal/quorum", "internal/controller", "internal/partition", "internal/group", "internal/txn"},
	{"internal/coordinator", "internal/purgatory", "internal/replica", "internal/peer", "internal/security", "internal/quota", "internal/telemetry"},
	{"internal/handler", "internal/server"},
	{"internal/broker", "internal/audit"},
	{"cmd/moldau"},
}

// sideways lists imports within one layer that are allowed, importer to imported.
var sideways = map[string][]string{
	"internal/env":         {"internal/kafka"},
	"internal/controller":  {"internal/quorum"},
	"internal/replica":     {"internal/purgatory", "internal/quota"},
	"internal/peer":        {"internal/security"},
	"internal/quota":       {"internal/security"},
	"internal/telemetry":   {"internal/security"},
	"internal/coordinator": {"internal/replica"},
	"internal/server":      {"internal/handler"},
}

// clients are packages that speak the protocol from outside; they import none of the
// broker's packages but the named ones, and no broker package imports them.
var clients = map[string][]string{
	"internal/tools": {"internal/kafka", "internal/tools"},
}

// readers are clients' packages that read files of the broker, or write them, and the packages of the formats
// that they may import for it.
var readers = map[string][]string{
	"internal/tools/brokers":     {"internal/balance"},
	"internal/tools/status":      {"internal/balance"},
	"internal/tools/dumplog":     {"internal/record", "internal/metadata", "internal/storage/segment", "internal/storage/producerstate"},
	"internal/tools/storagetool": {"internal/config", "internal/env/vfs", "internal/storage/checkpoint", "internal/metadata"},
}

// outside says which packages alone may import a third-party module.
var outside = map[string][]string{
	"go.etcd.io/raft/v3":                  {"internal/quorum"},
	"github.com/prometheus/client_golang": {"internal/server"},
	"github.com/klauspost/compress":       {"internal/record"},
	"github.com/pierrec/lz4/v4":           {"internal/record"},
	"github.com/spf13/cobra":              {"cmd/moldau", "internal/tools"},
	"github.com/magiconair/properties":    {"internal/config", "internal/tools"},
	"github.com/twmb/franz-go/pkg/kgo":    {"internal/tools", "internal/kafkatest", "test"},
	"github.com/twmb/franz-go/pkg/kadm":   {"internal/tools", "test"},
	"github.com/prometheus/client_model":  {"internal/server"},
	"google.golang.org/protobuf":          {"internal/telemetry", "internal/quorum"},
	"github.com/tidwall/btree":            {"internal/metadata"},
	"github.com/cockroachdb/datadriven":   {},
	"github.com/rogpeppe/go-internal":     {},
	"pgregory.net/rapid":                  {},
	"github.com/vbauerster/mpb/v8":        {"internal/tools"},
	"github.com/jedib0t/go-pretty/v6":     {"internal/tools"},
}

func under(folder, prefix string) bool {
	return folder == prefix || strings.HasPrefix(folder, prefix+"/")
}

// layerOf returns the listed package that folder belongs to and its layer, or "" and -1.
func layerOf(folder string) (string, int) {
	for layer, packages := range layers {
		for _, p := range packages {
			if under(folder, p) {
				return p, layer
			}
		}
	}
	return "", -1
}

func isClient(folder string) (string, bool) {
	for c := range clients {
		if under(folder, c) {
			return c, true
		}
	}
	return "", false
}

func TestImportsGoDownward(t *testing.T) {
	for _, f := range load(t) {
		if f.isTest {
			continue
		}
		for _, path := range f.imports() {
			imported, ours := strings.CutPrefix(path, modulePath+"/")
			if !ours {
				continue
			}
			if problem := importProblem(f.folder, imported); problem != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, problem)
			}
		}
	}
}

func importProblem(from, imported string) string {
	if client, ok := isClient(from); ok {
		for _, allowed := range clients[client] {
			if under(imported, allowed) {
				return ""
			}
		}
		if slices.Contains(readers[from], imported) {
			return ""
		}
		return "a client of the protocol does not import the broker's packages"
	}
	if under(from, "test") {
		return ""
	}
	if _, ok := isClient(imported); ok {
		if under(from, "cmd/moldau") {
			return ""
		}
		return "the broker does not import its clients"
	}
	if imported == "internal/kafkatest" || under(imported, "internal/sim") && !under(from, "internal/sim") {
		return "test support is imported by tests only"
	}
	fromPackage, fromLayer := layerOf(from)
	toPackage, toLayer := layerOf(imported)
	switch {
	case under(from, "internal/lint"), under(from, "internal/kafkatest"), under(from, "internal/sim"):
		return ""
	case fromLayer < 0:
		return "the importing package is in no layer: list it in layers"
	case toLayer < 0:
		return "the imported package is in no layer: list it in layers"
	case fromPackage == toPackage, toLayer < fromLayer, slices.Contains(sideways[fromPackage], toPackage):
		return ""
	}
	return "imports go downward only"
}

func TestThirdPartyImportsStayWhereTheyBelong(t *testing.T) {
	for _, f := range load(t) {
		if f.isTest {
			continue
		}
		for _, path := range f.imports() {
			for module, allowed := range outside {
				if !under(path, module) {
					continue
				}
				if !slices.ContainsFunc(allowed, func(p string) bool { return under(f.folder, p) }) {
					t.Errorf("%s imports %s, which only %v may", f.path, path, allowed)
				}
			}
		}
	}
}

// TestProtocolTypesStartAtLayerThree keeps kmsg out of the packages below the cores, so
// that storage and metadata depend on Kafka's formats and not on its requests.
func TestProtocolTypesStartAtLayerThree(t *testing.T) {
	for _, f := range load(t) {
		_, layer := layerOf(f.folder)
		if f.isTest || layer < 0 || layer >= 3 || under(f.folder, "internal/wire") {
			continue
		}
		for _, path := range f.imports() {
			if strings.HasSuffix(path, "/kmsg") {
				t.Errorf("%s imports kmsg, which belongs in wire and from the cores up", f.path)
			}
		}
	}
}
