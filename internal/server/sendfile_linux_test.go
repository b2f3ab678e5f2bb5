package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/wire"
)

// sentFile is a file that fetches are answered with.
type sentFile struct {
	t       *testing.T
	file    vfs.File
	content []byte
	cuts    vfs.Cuts
}

func newSentFile(t *testing.T, sizeBytes int) *sentFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	file, err := vfs.NewWatch(vfs.OS{}, []string{filepath.Dir(path)}).Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	f := &sentFile{t: t, file: file, content: make([]byte, sizeBytes)}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(f.content)
	if _, err := file.WriteAt(f.content, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// answer has a partition for each pair of position and size, in a file if the connection allows it.
func (f *sentFile) answer(r *handler.Request, parts [][2]int) *wire.FetchBody {
	body := &wire.FetchBody{Response: kmsg.NewPtrFetchResponse()}
	topic := kmsg.FetchResponseTopic{Topic: "t"}
	for i, part := range parts {
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.RecordBatches = int32(i), []byte{}
		if r.Conn.SendsFiles && part[1] > 0 && i != 2 {
			file := vfs.NewRange(f.file.(vfs.Sender), int64(part[0]), part[1], &f.cuts, f.cuts.Count())
			body.Files = append(body.Files, wire.FetchFile{Index: i, Range: &file})
		} else {
			p.RecordBatches = f.content[part[0] : part[0]+part[1]]
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	body.Response.Topics = []kmsg.FetchResponseTopic{topic}
	return body
}

func fetchRequest() *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(12)
	return r
}

// TestFilesAreSent compares what clients get of files with their content, also where a client reads in
// small pieces.
func TestFilesAreSent(t *testing.T) {
	t.Parallel()
	f := newSentFile(t, 9<<20)
	shapes := [][][2]int{
		{{0, 9 << 20}},
		{{17, 1}, {100, 1 << 20}, {5, 70_000}, {1 << 20, 0}, {3 << 20, 5 << 20}},
		{{0, 10}, {0, 0}, {0, 10}},
	}
	turn := 0
	s := startServer(t, Limits{}, map[int16]handlerFunc{wire.KeyFetch: func(_ context.Context, r *handler.Request) handler.Reply {
		if !r.Conn.SendsFiles {
			t.Error("a TCP connection does not send files")
		}
		turn++
		return handler.Reply{Body: f.answer(r, shapes[(turn-1)%len(shapes)])}
	}})
	conn := s.dial()
	if err := conn.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	for round := range 2 * len(shapes) {
		conn.send(frameOf(fetchRequest(), int32(round)))
		shape := shapes[round%len(shapes)]
		id, rest := conn.receive()
		response := kmsg.NewPtrFetchResponse()
		response.SetVersion(12)
		if err := response.ReadFrom(rest[1:]); err != nil || id != int32(round) {
			t.Fatalf("response %d, %v", id, err)
		}
		for i, part := range shape {
			if got := response.Topics[0].Partitions[i].RecordBatches; !bytes.Equal(got, f.content[part[0]:part[0]+part[1]]) {
				t.Fatalf("round %d, partition %d: %d bytes, not those of the file", round, i, len(got))
			}
		}
	}
	if s.counter("moldau_sent_bytes_total") < 2*9<<20 {
		t.Errorf("%d bytes sent", s.counter("moldau_sent_bytes_total"))
	}
}

// TestCutFileEndsTheConnection cuts a file, in both ways, while a client does not read: it gets a part
// of what was there, and then the connection's end.
func TestCutFileEndsTheConnection(t *testing.T) {
	t.Parallel()
	const size = 32 << 20 // more than sockets hold
	for name, cut := range map[string]func(f *sentFile) error{
		"in order":  func(f *sentFile) error { return f.cuts.Cut(func() error { return nil }) },
		"by others": func(f *sentFile) error { return f.file.Truncate(size / 2) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSentFile(t, size)
			released := make(chan struct{})
			s := startServer(t, Limits{}, map[int16]handlerFunc{wire.KeyFetch: func(_ context.Context, r *handler.Request) handler.Reply {
				body := f.answer(r, [][2]int{{0, size}})
				body.OnRelease = func() { close(released) }
				return handler.Reply{Body: body}
			}})
			conn := s.dial()
			conn.send(frameOf(fetchRequest(), 1))
			head := make([]byte, 100_000)
			if _, err := io.ReadFull(conn, head); err != nil { // it is being sent
				t.Fatal(err)
			}
			if err := cut(f); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(conn)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("the connection is still there")
			}
			got := append(head, rest...)
			at := bytes.Index(got, f.content[:64])
			if got = got[max(at, 0):]; at < 0 || len(got) >= size || !bytes.HasPrefix(f.content, got) {
				t.Fatalf("%d bytes, not a part of the file", len(got))
			}
			select {
			case <-released:
			case <-time.After(patience):
				t.Fatal("the file was not given back")
			}
		})
	}
}

// TestFileForASilentClient is given up when the client has read nothing for as long as it may be idle.
func TestFileForASilentClient(t *testing.T) {
	t.Parallel()
	f := newSentFile(t, 32<<20)
	released := make(chan struct{})
	s := startServer(t, Limits{MaxIdle: 100 * time.Millisecond}, map[int16]handlerFunc{wire.KeyFetch: func(_ context.Context, r *handler.Request) handler.Reply {
		body := f.answer(r, [][2]int{{0, 32 << 20}})
		body.OnRelease = func() { close(released) }
		return handler.Reply{Body: body}
	}})
	conn := s.dial()
	conn.send(frameOf(fetchRequest(), 1))
	select {
	case <-released:
	case <-time.After(patience):
		t.Fatal("the client is still waited for")
	}
	got, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || len(got) >= 32<<20 {
		t.Fatalf("%d bytes, %v; want the connection's end", len(got), err)
	}
}

// countedSocket counts the writes that are not gathered ones.
type countedSocket struct {
	*net.TCPConn
	writes int
}

func (s *countedSocket) Write(b []byte) (int, error) {
	s.writes++
	return s.TCPConn.Write(b)
}

// TestSmallPartsBesideAFile has many partitions with few records each and one in a file: what is not in the file
// goes out with few writes.
func TestSmallPartsBesideAFile(t *testing.T) {
	t.Parallel()
	f := newSentFile(t, 1<<20)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	var parts []wire.Part
	var want []byte
	for i := range 1000 {
		part := wire.Part{Data: f.content[i*500 : i*500+100+i%7]}
		want = append(want, part.Data...)
		if parts = append(parts, part); i%400 == 250 {
			file := vfs.NewRange(f.file.(vfs.Sender), int64(i), 300_000, &f.cuts, f.cuts.Count())
			parts = append(parts, wire.Part{File: &file})
			want = append(want, f.content[i:i+300_000]...)
		}
	}
	socket := &countedSocket{TCPConn: near.(*net.TCPConn)}
	w := newFileWriter(socket)
	w.parts, w.left = parts, parts
	got := make(chan []byte, 1)
	spawn(t, func() {
		all := make([]byte, len(want))
		_, _ = io.ReadFull(far, all)
		got <- all
	})
	var sent int64
	for { // as connection.write does
		if err := near.SetWriteDeadline(time.Now().Add(100 * time.Microsecond)); err != nil {
			t.Fatal(err)
		}
		n, err := w.write()
		sent += n
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if all := <-got; !bytes.Equal(all, want) || sent != int64(len(want)) {
		t.Errorf("%d bytes sent, want %d; equal %v", sent, len(want), bytes.Equal(all, want))
	}
	if socket.writes > 10 {
		t.Errorf("%d writes of their own", socket.writes)
	}
}

// hungFile is a file on a disk that does not answer.
type hungFile struct {
	vfs.File
	asked, answered chan struct{}
}

func (f *hungFile) SendTo(uintptr, int64, int) (int, error) {
	close(f.asked)
	<-f.answered
	return 0, syscall.EIO
}

// TestHungDiskHoldsUpOneConnection stops the server while a disk does not answer: a socket that is being sent to cannot
// be closed, but all the others can.
func TestHungDiskHoldsUpOneConnection(t *testing.T) {
	t.Parallel()
	hung := &hungFile{asked: make(chan struct{}), answered: make(chan struct{})}
	f := &sentFile{t: t, file: hung}
	entered := make(chan struct{}, 20)
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyFetch: func(_ context.Context, r *handler.Request) handler.Reply {
			return handler.Reply{Body: f.answer(r, [][2]int{{0, 100_000}})}
		},
		wire.KeyMetadata: func(_ context.Context, r *handler.Request) handler.Reply {
			entered <- struct{}{}
			<-hung.answered
			return respondEmpty(nil, r)
		},
	})
	answer := sync.OnceFunc(func() { close(hung.answered) })
	defer answer()
	s.dial().send(frameOf(fetchRequest(), 1))
	<-hung.asked
	others := make([]*client, cap(entered))
	for i := range others {
		others[i] = s.dial()
		others[i].send(frameOf(metadataRequest(1), 1))
		<-entered
	}
	stopped := make(chan struct{})
	spawn(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ctx)
		close(stopped)
	})
	for _, other := range others {
		other.wantClosed()
	}
	answer()
	<-stopped
}
