package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
)

// cleanShutdown is the content of a clean-shutdown file (KIP-966).
type cleanShutdown struct {
	Version     int    `json:"version"`
	BrokerEpoch *int64 `json:"brokerEpoch"`
}

// ReadCleanShutdown reads a clean-shutdown file. found is false if there is none or it cannot
// be read as one, which counts as an unclean shutdown. brokerEpoch is -1 if the file has
// none, as before Kafka wrote it.
func ReadCleanShutdown(fsys vfs.FS, path string) (brokerEpoch int64, found bool) {
	data, err := vfs.ReadFile(fsys, path, maxSmallFileBytes)
	if err != nil {
		return noBrokerEpoch, false
	}
	return parseCleanShutdown(data)
}

// noBrokerEpoch says that no epoch is known.
const noBrokerEpoch = -1

func parseCleanShutdown(data []byte) (brokerEpoch int64, found bool) {
	if len(data) == 0 {
		return noBrokerEpoch, true
	}
	var content cleanShutdown
	if err := json.Unmarshal(data, &content); err != nil || content.Version != 0 {
		return noBrokerEpoch, false
	}
	if content.BrokerEpoch == nil {
		return noBrokerEpoch, true
	}
	return *content.BrokerEpoch, true
}

// WriteCleanShutdown writes a clean-shutdown file.
func WriteCleanShutdown(fsys vfs.FS, path string, brokerEpoch int64) error {
	data, err := json.Marshal(cleanShutdown{BrokerEpoch: &brokerEpoch})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(fsys, path, data)
}

// RemoveCleanShutdown removes a clean-shutdown file durably; a missing one is no error.
func RemoveCleanShutdown(fsys vfs.FS, path string) error {
	err := fsys.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}
