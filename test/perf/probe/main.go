// Command probe is the limit of a machine for a broker of Kafka's protocol: it reads frames from sockets, checks the
// CRC of each batch, walks its records' headers, writes it to a file and answers; for a fetch it
// preads whole batches, checks their CRCs and writes them with writev. It keeps nothing beyond a
// restart, checks no producer, and knows of groups, transactions, quotas and retention nothing.
// What a real broker needs above it is what these cost. Several probes replicate as a cluster does: the leader
// of a partition writes, sends the same bytes to the others, which write and acknowledge, and answers then.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	addr := flag.String("listen", "localhost:9092", "host:port")
	dir := flag.String("dir", "", "folder for the files, one per partition")
	id := flag.Int("id", 1, "which of the peers this is, from 1 on")
	peers := flag.String("peers", "", "host:port,... of all probes that replicate to each other, by id")
	flag.Parse()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, os.Interrupt)
	socket, err := net.Listen("tcp", *addr)
	if err == nil {
		err = os.MkdirAll(*dir, 0o755)
	}
	if err != nil {
		log.Fatal(err)
	}
	go serve(socket, *dir, newCluster(*id, *peers))
	<-stopped
}

// serve accepts connections until the socket is closed.
func serve(socket net.Listener, dir string, peers *cluster) {
	s := newStore(dir, socket.Addr().(*net.TCPAddr), peers)
	for {
		conn, err := socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			c := connection{store: s, conn: conn}
			defer c.followers.close()
			if err := c.serve(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				log.Printf("%s: %v", conn.RemoteAddr(), err)
			}
		}()
	}
}

const maxFrameBytes = 128 << 20

// connection reads one frame after the other into the same buffer.
type connection struct {
	store *store
	conn  net.Conn
	frame []byte
	out   []byte // the answer but for the records
	fetch fetchAnswer

	followers followers
	batches   []replica // of the produce request that is being answered
	forwarded bool      // another probe has sent the request on, and waits for no answer of its own
}

var errFrame = errors.New("a request that the probe cannot read")

func (c *connection) serve() error {
	var size [4]byte
	for {
		if _, err := io.ReadFull(c.conn, size[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if n > maxFrameBytes {
			return errFrame
		}
		if n > cap(c.frame) {
			c.frame = make([]byte, n+n/4)
		}
		c.frame = c.frame[:n]
		if _, err := io.ReadFull(c.conn, c.frame); err != nil {
			return err
		}
		done, err := c.follow()
		if !done {
			err = c.answer()
		}
		if err != nil {
			return err
		}
	}
}

func (c *connection) answer() error {
	r := reader{data: c.frame}
	key, version, correlation := r.int16(), r.int16(), r.int32()
	r.skip(int(max(r.int16(), 0))) // client id
	request := kmsg.RequestForKey(key)
	if r.failed || request == nil {
		return errFrame
	}
	request.SetVersion(version)
	if request.IsFlexible() {
		r.skipTags()
	}
	// The size comes first, when it is known. Only ApiVersions has the old header in its answer.
	c.out = binary.BigEndian.AppendUint32(append(c.out[:0], 0, 0, 0, 0), uint32(correlation))
	if request.IsFlexible() && key != int16(kmsg.ApiVersions) {
		c.out = append(c.out, 0)
	}
	switch kmsg.Key(key) {
	case kmsg.Produce:
		if err := c.produce(&r, version); err != nil {
			return err
		}
	case kmsg.Fetch:
		if err := request.ReadFrom(r.data[r.at:]); err != nil {
			return err
		}
		return c.answerFetch(request.(*kmsg.FetchRequest))
	default:
		if err := request.ReadFrom(r.data[r.at:]); err != nil {
			return err
		}
		response, err := c.store.control(request)
		if err != nil {
			return err
		}
		if c.forwarded {
			return nil
		}
		if changes := key == int16(kmsg.CreateTopics) || key == int16(kmsg.DeleteTopics); changes && c.store.cluster != nil {
			if err := c.followers.send(c.store.cluster, forwardKey, c.frame); err != nil {
				return err
			}
		}
		response.SetVersion(version)
		c.out = response.AppendTo(c.out)
	}
	binary.BigEndian.PutUint32(c.out, uint32(len(c.out)-4))
	_, err := c.conn.Write(c.out)
	return err
}
