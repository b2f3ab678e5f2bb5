package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/wire"
)

// The tests of this file keep PARITY.md from saying something else than the code's tables.

// lastKafkaKey is the highest API key of Kafka 4.3.
const lastKafkaKey = 92

// absentRange stands in the ledger for an API that is not served.
const absentRange = "–"

var (
	usageWords = map[config.Usage]string{config.Used: "used", config.Unused: "accepted", config.Internal: "internal", config.DynamicOnly: "dynamic only"}
	modeWords  = map[config.DynamicMode]string{config.ReadOnly: "read-only", config.PerBroker: "per broker", config.ClusterWide: "cluster-wide"}
	quoted     = regexp.MustCompile("`([^`]+)`")
)

// ledger returns the cells of all tables below a heading of PARITY.md, without their heads.
func ledger(t *testing.T, heading string) [][]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "PARITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	inside, separated := false, false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			inside, separated = strings.TrimLeft(line, "# ") == heading, false
		case !inside || !strings.HasPrefix(line, "|"):
			separated = false
		case strings.HasPrefix(line, "|---"):
			separated = true
		case separated:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("PARITY.md has no table below the heading %q", heading)
	}
	return rows
}

func TestLedgerOfAPIs(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for _, row := range ledger(t, "APIs") {
		key, err := strconv.Atoi(row[0])
		if err != nil || len(row) != 6 || seen[key] {
			t.Fatalf("PARITY.md, APIs: %q is not a row of its own key with six cells", row)
		}
		seen[key] = true
		want, name := absentRange, row[1]
		if api, ok := wire.LookupAPI(int16(key)); ok {
			want, name = fmt.Sprintf("%d-%d", api.MinAdvertised, api.MaxAdvertised), api.Name
		}
		if row[3] != want || row[1] != name {
			t.Errorf("PARITY.md, API %d: says %s %s, the version table says %s %s", key, row[1], row[3], name, want)
		}
		if absent := row[4] == "absent" || row[4] == absentRange; absent != (want == absentRange) {
			t.Errorf("PARITY.md, API %d: state %q does not fit versions %s", key, row[4], want)
		}
	}
	for key := range lastKafkaKey + 1 {
		if !seen[key] {
			t.Errorf("PARITY.md, APIs: key %d has no row", key)
		}
	}
	for _, api := range wire.APIs() {
		if !seen[int(api.Key)] {
			t.Errorf("PARITY.md, APIs: %s (%d) has no row", api.Name, api.Key)
		}
	}
}

// ledgerConfig is what the ledger says of one config.
type ledgerConfig struct{ usage, mode string }

func TestLedgerOfResourceConfigs(t *testing.T) {
	t.Parallel()
	for heading, defs := range map[string][]*config.Def{"Topic configs": config.TopicDefs(), "Group configs": config.GroupDefs(), "Client metrics configs": config.ClientMetricsDefs()} {
		said := map[string]ledgerConfig{}
		for _, row := range ledger(t, heading) {
			note(t, said, row[0], ledgerConfig{usage: row[2]})
		}
		compareConfigs(t, said, defs, func(d *config.Def) ledgerConfig { return ledgerConfig{usage: usageWords[d.Usage]} })
	}
}

func TestLedgerOfBrokerConfigs(t *testing.T) {
	t.Parallel()
	said := map[string]ledgerConfig{}
	for _, row := range ledger(t, "Broker configs that are used") {
		note(t, said, row[0], ledgerConfig{usageWords[config.Used], row[2]})
	}
	modes := []config.DynamicMode{config.ReadOnly, config.PerBroker, config.ClusterWide} // the columns after the class
	for _, row := range ledger(t, "Broker configs that are accepted without use") {
		for i, mode := range modes {
			note(t, said, row[i+1], ledgerConfig{usageWords[config.Unused], modeWords[mode]})
		}
	}
	for _, row := range ledger(t, "Broker configs that Kafka does not document") {
		usage, _, _ := strings.Cut(row[0], ":")
		note(t, said, row[1], ledgerConfig{usage: usage})
	}
	compareConfigs(t, said, config.BrokerDefs(), func(d *config.Def) ledgerConfig {
		want := ledgerConfig{usageWords[d.Usage], modeWords[d.Mode]}
		if d.Usage == config.Internal || d.Usage == config.DynamicOnly {
			want.mode = ""
		}
		return want
	})
}

// TestLedgerOfDynamicConfigs holds what the ledger says of changes while brokers run to the tables, and to what is refused.
func TestLedgerOfDynamicConfigs(t *testing.T) {
	t.Parallel()
	said := map[string]ledgerConfig{}
	for _, row := range ledger(t, "Dynamic broker configs") {
		note(t, said, row[0], ledgerConfig{usage: row[1]})
	}
	static, _, err := config.NewBroker(nil)
	if err != nil {
		t.Fatal(err)
	}
	takesEffect := map[config.Usage]string{config.Used: "takes effect", config.Unused: "accepted without use"}
	var dynamic []*config.Def
	for _, d := range config.BrokerDefs() {
		if d.Mode != config.ReadOnly {
			dynamic = append(dynamic, d)
		}
	}
	compareConfigs(t, said, dynamic, func(d *config.Def) ledgerConfig {
		value := d.Default
		if d.NullDefault {
			value = "1"
		}
		if err := (config.Layers{Static: static}).ValidateBrokerConfigs(map[string]string{d.Name: value}, true); err != nil {
			return ledgerConfig{usage: "refused"}
		}
		usage := d.Usage
		if usage == config.DynamicOnly {
			usage = config.Used
		}
		return ledgerConfig{usage: takesEffect[usage]}
	})
}

// note takes the names quoted in a cell.
func note(t *testing.T, said map[string]ledgerConfig, cell string, says ledgerConfig) {
	t.Helper()
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		if _, twice := said[match[1]]; twice {
			t.Errorf("PARITY.md names the config %s twice", match[1])
		}
		said[match[1]] = says
	}
}

func compareConfigs(t *testing.T, said map[string]ledgerConfig, defs []*config.Def, want func(*config.Def) ledgerConfig) {
	t.Helper()
	for _, d := range defs {
		if got, w := said[d.Name], want(d); got != w {
			t.Errorf("PARITY.md, config %s: says %+v, the config table says %+v", d.Name, got, w)
		}
		delete(said, d.Name)
	}
	for name := range said {
		t.Errorf("PARITY.md, config %s: no config table has it", name)
	}
}
