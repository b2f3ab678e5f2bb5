package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/record"
)

// Apache Kafka's own inspection tool reads what Moldau has written: a compacted topic with
// transactions, committed offsets, states of transactions, and their indexes and snapshots.

const dumped = "dumped"

// dumpFolders are the partitions that are looked at, with the decoder of their records.
var dumpFolders = []struct{ name, decoder, shows string }{
	{dumped + "-0", "", "key-"},
	{"__consumer_offsets-0", "--offsets-decoder", `"group":"dumped-`},
	{"__transaction_state-0", "--transaction-log-decoder", `"transactionalId":"dumped`},
}

// dumpCheck writes to a running Moldau, waits until it has compacted, and reads its data folder with
// dump-log. It returns what is wrong.
func dumpCheck(addr, data string, tools dumpTools) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := writeDumped(ctx, addr); err != nil {
		return "write: " + err.Error() + "\n"
	}
	var problems strings.Builder
	for _, f := range dumpFolders {
		if err := dumpFolder(filepath.Join(data, f.name), f.decoder, f.shows, tools); err != nil {
			fmt.Fprintf(&problems, "%s: %v\n", f.name, err)
		}
	}
	return problems.String()
}

func writeDumped(ctx context.Context, addr string) error {
	options := []kgo.Opt{kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(dumped), kgo.ProducerBatchCompression(kgo.NoCompression())}
	plain, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer plain.Close()
	small, always, compact, dense := "4000", "0", "compact", "300"
	admin := kadm.NewClient(plain)
	configs := map[string]*string{"internal.segment.bytes": &small, "min.cleanable.dirty.ratio": &always, "cleanup.policy": &compact, "index.interval.bytes": &dense}
	if _, err := admin.CreateTopic(ctx, 1, 1, configs, dumped); err != nil {
		return err
	}
	transactional, err := kgo.NewClient(append(options, kgo.TransactionalID(dumped))...)
	if err != nil {
		return err
	}
	defer transactional.Close()
	round := func(i int) error {
		if err := writeInTransaction(ctx, transactional, i); err != nil {
			return err
		}
		tombstone := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i%7)}
		if err := plain.ProduceSync(ctx, tombstone, &kgo.Record{Key: fmt.Appendf(nil, "key-p%d", i%5), Value: make([]byte, 100)}).FirstErr(); err != nil {
			return err
		}
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: dumped, At: int64(i), LeaderEpoch: -1})
		return admin.CommitAllOffsets(ctx, fmt.Sprint("dumped-", i%3), offsets)
	}
	if err := round(0); err != nil { // the coordinators' topics come into being
		return err
	}
	for _, topic := range []string{"__consumer_offsets", "__transaction_state"} {
		changes := []kadm.AlterConfig{{Name: "internal.segment.bytes", Value: &small}, {Name: "min.cleanable.dirty.ratio", Value: &always},
			{Name: "index.interval.bytes", Value: &dense}}
		altered, err := admin.AlterTopicConfigs(ctx, changes, topic)
		if err == nil {
			_, err = altered.On(topic, nil)
		}
		if err != nil {
			return err
		}
	}
	for i := 1; i < 150; i++ {
		if err := round(i); err != nil {
			return err
		}
	}
	return nil
}

// writeInTransaction commits or aborts two records.
func writeInTransaction(ctx context.Context, client *kgo.Client, i int) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	for n := range 2 {
		r := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", (i+n)%7), Value: fmt.Appendf(make([]byte, 100), "%d", i)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	return client.EndTransaction(ctx, kgo.TransactionEndTry(i%3 > 0))
}

// dumpFolder waits for the compaction of a partition and has all of its closed segments read.
func dumpFolder(folder, decoder, shows string, tools dumpTools) error {
	deadline := time.Now().Add(time.Minute)
	for !isCompacted(folder) {
		if time.Now().After(deadline) {
			return errors.New("it is not compacted within a minute")
		}
		time.Sleep(200 * time.Millisecond)
	}
	for {
		before := folderState(folder)
		err := dumpFiles(folder, decoder, shows, tools)
		if err == nil || folderState(folder) == before || time.Now().After(deadline) {
			return err
		} // another round of compaction came between
	}
}

// folderState is what the files of a folder are at the moment.
func folderState(folder string) string {
	names, _ := filepath.Glob(filepath.Join(folder, "*"))
	var state strings.Builder
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&state, name, info.Size(), info.ModTime())
		}
	}
	return state.String()
}

// dumpFiles has all closed segments of a partition read.
func dumpFiles(folder, decoder, shows string, tools dumpTools) error {
	files := func(suffix string) []string {
		all, _ := filepath.Glob(filepath.Join(folder, "*"+suffix))
		return all
	}
	logs := files(".log")
	logs = logs[:len(logs)-1] // the last one is still written to
	batches, err := countBatches(logs)
	if err != nil {
		return err
	}
	args := []string{"--deep-iteration", "--print-data-log", "--files", strings.Join(logs, ",")}
	if decoder != "" {
		args = append(args, decoder)
	}
	out, err := dump(tools, args...)
	switch {
	case err != nil:
		return err
	case strings.Count(out, "isvalid: true") != batches || strings.Contains(out, "isvalid: false"):
		return fmt.Errorf("Apache Kafka finds %d good batches, %d are there", strings.Count(out, "isvalid: true"), batches)
	case !strings.Contains(out, shows):
		return fmt.Errorf("Apache Kafka shows no %s", shows)
	}
	indexes := append(files(".index"), files(".timeindex")...)
	indexes = closedOnly(indexes, logs)
	for _, check := range []string{"--verify-index-only", "--index-sanity-check"} {
		if out, err = dump(tools, check, "--files", strings.Join(indexes, ",")); err != nil {
			return err
		}
		if n := strings.Count(out, "passed sanity check") + strings.Count(out, " is empty."); check == "--index-sanity-check" && n != len(indexes) {
			return fmt.Errorf("%d of %d indexes pass the sanity check", n, len(indexes))
		}
	}
	return dumpRest(tools, files(".txnindex"), files(".snapshot"))
}

// dumpRest reads transaction indexes and producer snapshots.
func dumpRest(tools dumpTools, txnIndexes, snapshots []string) error {
	entries := 0
	for _, name := range txnIndexes {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		entries += int(info.Size()) / 34
	}
	if entries > 0 {
		out, err := dump(tools, "--files", strings.Join(txnIndexes, ","))
		if err != nil || strings.Count(out, "producerId:") != entries {
			return fmt.Errorf("Apache Kafka shows %d aborted transactions of %d: %w", strings.Count(out, "producerId:"), entries, err)
		}
	}
	if len(snapshots) > 0 {
		out, err := dump(tools, "--files", strings.Join(snapshots, ","))
		if err != nil || !strings.Contains(out, "producerId:") {
			return fmt.Errorf("Apache Kafka shows no producers: %w", err)
		}
	}
	return nil
}

// isCompacted reports whether the closed segments have less than half of the offsets that they had.
func isCompacted(folder string) bool {
	logs, _ := filepath.Glob(filepath.Join(folder, "*.log"))
	under, _ := filepath.Glob(filepath.Join(folder, "*.log.*")) // .cleaned, .swap
	if len(logs) < 3 || len(under) > 0 && !strings.HasSuffix(under[0], ".deleted") {
		return false
	}
	records, end := int64(0), int64(0)
	for _, name := range logs[:len(logs)-1] {
		data, err := os.ReadFile(name)
		for err == nil && len(data) > 0 {
			var b record.Batch
			if b, data, err = record.Next(data); err == nil {
				records, end = records+int64(b.Count()), b.NextOffset()
			}
		}
		if err != nil {
			return false
		}
	}
	return records < end/2
}

func countBatches(logs []string) (count int, err error) {
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		for ; len(data) > 0; count++ {
			if _, data, err = record.Next(data); err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return count, nil
}

// closedOnly leaves out the index files of the segment that is written to.
func closedOnly(indexes, logs []string) (closed []string) {
	for _, name := range indexes {
		for _, log := range logs {
			if strings.TrimSuffix(name, filepath.Ext(name)) == strings.TrimSuffix(log, ".log") {
				closed = append(closed, name)
			}
		}
	}
	return closed
}

// dumpTools are the command lines of Apache Kafka's tools and of Moldau's, before the tool's name.
type dumpTools struct{ theirs, ours []string }

// dump runs Apache Kafka's dump-log and reports what it complains of, or that ours prints something else.
func dump(tools dumpTools, args ...string) (string, error) {
	run := func(tool []string) (out, messages string, err error) {
		cmd := exec.Command(tool[0], append(append(tool[1:len(tool):len(tool)], "dump-log"), args...)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err = cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	out, messages, err := run(tools.theirs)
	text := out + messages
	if err != nil {
		return text, fmt.Errorf("dump-log %s: %w: %s", args[0], err, text[max(0, len(text)-1000):])
	}
	for _, complaint := range []string{"Mismatches in", "Found timestamp mismatch", "Found out of order", "non-consecutive", "Exception", "Could not decode"} {
		if i := strings.Index(text, complaint); i >= 0 {
			return text, fmt.Errorf("dump-log %s: %s", args[0], text[i:min(len(text), i+500)])
		}
	}
	ours, messages, err := run(tools.ours)
	if err != nil {
		return text, fmt.Errorf("our dump-log %s: %w: %s", args[0], err, messages)
	}
	theirLines, ourLines := strings.Split(out, "\n"), strings.Split(ours, "\n")
	for i := range min(len(theirLines), len(ourLines)) {
		if theirLines[i] != ourLines[i] {
			return text, fmt.Errorf("dump-log %s: line %d is %q, ours is %q", args[0], i+1, theirLines[i], ourLines[i])
		}
	}
	if len(theirLines) != len(ourLines) {
		return text, fmt.Errorf("dump-log %s: %d lines, ours has %d", args[0], len(theirLines), len(ourLines))
	}
	return text, nil
}
