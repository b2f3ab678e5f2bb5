package dumplog

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/storage/segment"
	"github.com/moldau/moldau/internal/tools/cli"
)

const (
	summary          = "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment."
	stringDecoder    = "org.apache.kafka.tools.api.StringDecoder"
	checkpointSuffix = ".checkpoint"
	// maxSnapshotBytes bounds a producer snapshot, which is read whole.
	maxSnapshotBytes = 256 << 20
)

type options struct {
	print, verify, sanity, files, maxMessageSize, maxBytes, deep, valueDecoder, keyDecoder *cli.Option

	offsets, transactions, metadata, remote, share, skipMetadata *cli.Option
}

func newOptions(p *cli.Parser) options {
	decoder := func(name, what string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.OptionalArg, Default: stringDecoder,
			Help: "The class that turns the bytes of " + what + " into text. Only " + stringDecoder + " is built in."})
	}
	number := func(name, help string, value int) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: "Integer: size", Default: strconv.Itoa(value), Help: help})
	}
	return options{
		print:  p.Flag("print-data-log", "Print the records' keys and values. Any decoder option implies it."),
		verify: p.Flag("verify-index-only", "Check indexes against their log without printing them."),
		sanity: p.Flag("index-sanity-check", "Make only the check that decides at a broker's start whether an index is built anew."),
		files: p.Value("files", "String: file1, file2, ...",
			"REQUIRED: Files of a partition's folder, separated by commas, such as /data/orders-0/00000000000000000000.log."),
		maxMessageSize: number("max-message-size", "Size of the largest batch, for the check of an .index file.", 5<<20),
		maxBytes:       number("max-bytes", "Read only so many bytes of each log, in whole batches.", math.MaxInt32),
		deep:           p.Flag("deep-iteration", "Look into the batches. Printing records implies it."),
		valueDecoder:   decoder("value-decoder-class", "values"),
		keyDecoder:     decoder("key-decoder-class", "keys"),
		offsets:        p.Flag("offsets-decoder", "The log is one of __consumer_offsets."),
		transactions:   p.Flag("transaction-log-decoder", "The log is one of __transaction_state."),
		metadata:       p.Flag("cluster-metadata-decoder", "The log or snapshot is one of __cluster_metadata."),
		remote:         p.Flag("remote-log-metadata-decoder", "Refused: there is no tiered storage."),
		share:          p.Flag("share-group-state-decoder", "The log is one of __share_group_state."),
		skipMetadata:   p.Flag("skip-record-metadata", "Print neither the records' metadata nor control records."),
	}
}

// Run is kafka-dump-log.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	o := newOptions(p)
	set, err := p.Parse(args)
	if err != nil {
		return err
	}
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := set.CheckRequired(s, o.files); err != nil {
		return err
	}
	d := &dumper{
		out: bufio.NewWriterSize(s.Out, 64<<10), streams: s, deep: set.Has(o.deep), skipMetadata: set.Has(o.skipMetadata),
		verifyOnly: set.Has(o.verify), sanityOnly: set.Has(o.sanity), maxMessageSize: set.Int(o.maxMessageSize), maxBytes: set.Int(o.maxBytes),
	}
	if d.decode, d.print, err = o.decoder(set); err != nil {
		return err
	}
	files := set.String(o.files)
	if err := set.Err(); err != nil {
		return err
	}
	d.deep = d.deep || d.print
	for name := range strings.SplitSeq(strings.TrimRight(files, ","), ",") { // as Java splits
		if err = d.dump(ctx, javaPath(name)); err != nil {
			break
		}
	}
	if flushErr := d.out.Flush(); err == nil {
		err = flushErr
	}
	if err == nil {
		d.complaints.print(s)
	}
	return err
}

// dumper prints files. It is used by one goroutine.
type dumper struct {
	out     *bufio.Writer
	streams cli.Streams

	print, deep, skipMetadata, verifyOnly, sanityOnly bool
	maxMessageSize, maxBytes                          int32
	decode                                            decoder

	complaints complaints
	line       []byte // used again for every line
}

func (d *dumper) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *dumper) dump(ctx context.Context, path string) error {
	d.printf("Dumping %s\n", path)
	name := filepath.Base(path)
	switch suffix := filepath.Ext(name); suffix {
	case segment.LogSuffix, checkpointSuffix:
		return d.dumpLog(ctx, path)
	case segment.IndexSuffix:
		return d.dumpIndex(ctx, path)
	case segment.TimeIndexSuffix:
		return d.dumpTimeIndex(ctx, path)
	case segment.TxnIndexSuffix:
		return d.dumpTxnIndex(path)
	case segment.SnapshotSuffix:
		return d.dumpSnapshot(path)
	}
	d.streams.Errorln("Ignoring unknown file " + path)
	return nil
}

// baseOffsetOf reads the offset that a file's name begins with.
func baseOffsetOf(path string) (int64, error) {
	digits, _, _ := strings.Cut(filepath.Base(path), ".")
	offset, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: the name does not begin with an offset, as those of a log's files do", path)
	}
	return offset, nil
}

// siblingOf is the file beside path that has the same offset in its name.
func siblingOf(path, suffix string) string {
	digits, _, _ := strings.Cut(filepath.Base(path), ".")
	return filepath.Join(filepath.Dir(path), digits+suffix)
}

// javaPath writes a path as Java shows it: without repeated slashes and one at the end.
func javaPath(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// absolute is the path as Java makes it absolute.
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	folder, err := os.Getwd()
	if err != nil {
		return path
	}
	return folder + string(filepath.Separator) + path
}
