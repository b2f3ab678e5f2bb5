package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// bootstrapFileName is Kafka's name of the file that says what a cluster begins with.
const bootstrapFileName = "bootstrap.checkpoint"

// maxBootstrapBytes bounds that file.
const maxBootstrapBytes = 1 << 20

// BootstrapError says that the file cannot be read.
type BootstrapError struct {
	Path     string
	Position int
	Problem  string
}

func (e *BootstrapError) Error() string {
	return fmt.Sprintf("%s: at byte %d: %s: format the folder again, or remove the file to begin with the newest levels", e.Path, e.Position, e.Problem)
}

// WriteBootstrap writes, in Kafka's format, the levels of features with which a cluster begins that a node with
// this log dir forms.
func WriteBootstrap(fsys vfs.FS, dir string, nowMs int64, levels []FeatureLevelRecord) error {
	o := record.NoProducer(record.CodecNone)
	var file []byte
	add := func(control bool, fill func(b *record.Builder)) error {
		o.Control = control
		b := record.NewBuilder(o)
		fill(b)
		batch, err := b.Build()
		if err == nil {
			o.BaseOffset = batch.NextOffset()
			file = append(file, batch...)
		}
		return err
	}
	err := errors.Join(
		add(true, func(b *record.Builder) {
			b.Append(nowMs, record.ControlKey(record.ControlSnapshotHeader), record.SnapshotHeader{LastContainedLogTimestamp: nowMs}.Encode(), nil)
		}),
		add(false, func(b *record.Builder) {
			for i := range levels {
				b.Append(nowMs, nil, Encode(&levels[i]), nil)
			}
		}),
		add(true, func(b *record.Builder) {
			b.Append(nowMs, record.ControlKey(record.ControlSnapshotFooter), record.SnapshotFooter{}.Encode(), nil)
		}))
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, bootstrapFileName), file)
}

// ReadBootstrap returns the levels of features that a log dir was formatted for, none where nobody chose any.
func ReadBootstrap(fsys vfs.FS, dir string) (map[string]int16, error) {
	path := filepath.Join(dir, bootstrapFileName)
	data, err := vfs.ReadFile(fsys, path, maxBootstrapBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	levels := map[string]int16{}
	for rest := data; len(rest) > 0; {
		problem := func(err error) error { return &BootstrapError{path, len(data) - len(rest), err.Error()} }
		batch, next, err := record.Next(rest)
		if err == nil {
			err = batch.CheckCRC()
		}
		if err != nil {
			return nil, problem(err)
		}
		for r, err := range batch.Records(math.MaxInt32) {
			if err != nil {
				return nil, problem(err)
			}
			if batch.IsControl() {
				continue
			}
			decoded, err := Decode(r.Value)
			if err != nil {
				return nil, problem(err)
			}
			if f, ok := decoded.(*FeatureLevelRecord); ok { // Kafka also has users' credentials there
				levels[f.Name] = f.FeatureLevel
			}
		}
		rest = next
	}
	return levels, nil
}
