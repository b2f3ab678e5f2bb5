package quorum

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// script is a voter under the commands of testdata/scripts.
type script struct {
	t   *testing.T
	mem *vfs.Mem
	v   *testVoter
}

// TestScripts runs testdata/scripts. Commands:
//
//	start            opens the voter and campaigns
//	propose          commits one batch per line of input, its records separated by spaces
//	update-voter     proposes a change of the voter's listeners, without process
//	transfer         hands leadership over to a voter that does not exist, without process
//	office           says whether the controller may act
//	process          says what is committed, and that
//	snapshot         writes a snapshot of everything committed
//	stop | kill      ends the process
//	files            lists the folder
//	log              prints the batches of all log files
//	flip file=F at=N flips the lowest bit of a byte
//	cut file=F bytes=N, zero file=F at=N bytes=N, remove file=F
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t, mem: vfs.NewMem()}
		mustMkdir(t, s.mem)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.run(d)
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			return out
		})
	})
}

func (s *script) run(d *datadriven.TestData) (string, error) {
	var file string
	var at, bytes int64
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "file":
			file = filepath.Join("/data", MetadataFolder, arg.Vals[0])
		case "at":
			fmt.Sscan(arg.Vals[0], &at)
		case "bytes":
			fmt.Sscan(arg.Vals[0], &bytes)
		}
	}
	switch d.Cmd {
	case "start":
		v, err := openVoter(s.mem)
		if err != nil {
			return "", err
		}
		s.v = v
		l := v.Leadership()
		return fmt.Sprintf("leader %d epoch %d start %d, snapshot %d-%d %v, committed %v\n", l.LeaderID, l.Epoch, l.StartOffset,
			v.Snapshot().EndOffset, v.Snapshot().Epoch, v.snapshot, v.values()[len(v.snapshot):]), nil
	case "propose":
		for line := range strings.Lines(d.Input) {
			var records [][]byte
			for _, value := range strings.Fields(line) {
				records = append(records, []byte(value))
			}
			if _, err := s.v.Propose(records, testNowMs); err != nil {
				return "", err
			}
		}
		return s.process()
	case "process":
		out, err := s.process()
		return out + s.office(), err
	case "office":
		return s.office(), nil
	case "update-voter":
		_, err := s.v.UpdateVoter(testSelf, testNowMs)
		return s.office(), err
	case "transfer":
		err := s.v.TransferLeadership(99)
		return s.office(), err
	case "snapshot":
		return "", takeSnapshot(s.v)
	case "stop":
		return "", s.v.Close()
	case "kill":
		s.mem = s.mem.KillClone()
		return "", nil
	case "files":
		return s.files()
	case "log":
		return s.log()
	case "remove":
		return "", s.mem.Remove(file)
	}
	return "", s.damage(d.Cmd, file, at, bytes)
}

func (s *script) process() (string, error) {
	before := len(s.v.committed)
	if err := s.v.process(); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, c := range s.v.committed[before:] {
		fmt.Fprintf(&out, "%d..%d epoch %d: %s\n", c.BaseOffset, c.LastOffset, c.Epoch, c.Records)
	}
	return out.String(), nil
}

func (s *script) office() string {
	l := s.v.Leadership()
	return fmt.Sprintf("leader %d epoch %d office %d start %d\n", l.LeaderID, l.Epoch, l.Office, l.StartOffset)
}

func (s *script) damage(cmd, file string, at, bytes int64) error {
	f, err := s.mem.Open(file, true)
	if err != nil {
		return err
	}
	defer f.Close()
	switch cmd {
	case "flip":
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1
		_, err = f.WriteAt(b, at)
	case "zero":
		_, err = f.WriteAt(make([]byte, bytes), at)
	case "cut":
		var size int64
		if size, err = f.Size(); err == nil {
			err = f.Truncate(size - bytes)
		}
	default:
		err = fmt.Errorf("unknown command %s", cmd)
	}
	return err
}

func (s *script) files() (string, error) {
	entries, err := s.mem.ReadDir(filepath.Join("/data", MetadataFolder))
	var out strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "index") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s %d\n", e.Name(), info.Size())
	}
	return out.String(), err
}

func (s *script) log() (string, error) {
	var out strings.Builder
	for _, data := range s.logFiles() {
		for position := 0; len(data) > 0; {
			b, rest, err := record.Next(data)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "@%d %d..%d epoch %d:", position, b.BaseOffset(), b.LastOffset(), b.PartitionLeaderEpoch())
			for r, err := range b.Records(1 << 20) {
				switch {
				case err != nil:
					return "", err
				case b.IsControl():
					fmt.Fprintf(&out, " control %d", binary.BigEndian.Uint16(r.Key[2:]))
				case string(r.Value) == string(electionRecord):
					out.WriteString(" election")
				default:
					fmt.Fprintf(&out, " %s", r.Value)
				}
			}
			out.WriteString("\n")
			position, data = position+len(b), rest
		}
	}
	return out.String(), nil
}

func (s *script) logFiles() [][]byte {
	_, bases, err := listLog(s.mem, filepath.Join("/data", MetadataFolder))
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(bases)
	var files [][]byte
	for _, base := range bases {
		data, err := vfs.ReadFile(s.mem, filepath.Join("/data", MetadataFolder, fmt.Sprintf("%020d.log", base)), 1<<20)
		if err != nil {
			s.t.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}
