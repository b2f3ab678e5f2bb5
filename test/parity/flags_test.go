package main

import (
	"slices"
	"testing"
)

// TestFlagsOf reads help texts in the forms of joptsimple and argparse4j.
func TestFlagsOf(t *testing.T) {
	t.Parallel()
	for help, want := range map[string][2][]string{
		"This tool does things.\nOption                                  Description\n------                                  -----------\n" +
			"--add                                   Adds, unlike --remove.\n--bootstrap-server <String: server to   REQUIRED: brokers.\n  connect to>\n" +
			"* --files <String>                      Files.\n                                          --not-a-flag\n--consumer.config <String>              (DEPRECATED)\n--help                                  Help.\n": {
			nil, {"--add", "--bootstrap-server", "--consumer.config", "--files"}},
		"usage: kafka-x [-h] {describe,add} ...\n\nThis tool\n\npositional arguments:\n  {describe,add}\n    describe             Describes.\n    add                  Adds.\n\noptional arguments:\n" +
			"  -h, --help             show this help message and exit\n  --cluster-id CLUSTER-ID, -t CLUSTER-ID\n                         The id.\n  -g, --ignore           See --feature.\n": {
			{"add", "describe"}, {"--cluster-id", "--ignore"}},
		"usage: kafka-x [-h] COMMAND ...\n\noptional arguments:\n  -h, --help             show this help message and exit\n  --config FILE          a file\n\ncommands:\n  COMMAND\n    list                 list things\n" +
			"    endThemAll\n                         End      all\n": {{"endThemAll", "list"}, {"--config"}},
	} {
		actions, flags := flagsOf(help)
		if !slices.Equal(actions, want[0]) || !slices.Equal(flags, want[1]) {
			t.Errorf("%q %q in\n%s", actions, flags, help)
		}
	}
}
