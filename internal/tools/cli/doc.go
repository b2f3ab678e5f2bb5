// Package cli is the command-line layer that all tools share: Kafka's option spellings, its
// usage text layout, exit codes and property files. The tools under internal/tools call it;
// it starts no goroutine and holds no state between runs.
//
// Kafka's tools parse options with joptsimple, and scripts depend on what that library
// accepts: --name value, --name=value, -name value, options repeated or given out of order.
// Parser reproduces that. kafka-storage and kafka-cluster use sub-commands in argparse's
// style instead, which SubParser reproduces.
package cli
