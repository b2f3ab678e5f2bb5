package metadataquorum

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// newVoter is a controller as its properties file and its metadata folder describe it.
type newVoter struct {
	id        int32
	directory kafka.UUID
	listeners []kmsg.AddRaftVoterRequestListener
}

func addController(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed) error {
	props, err := cli.LoadProperties(parsed.Value("--command-config"))
	if err != nil {
		return err
	}
	added, err := readVoter(props)
	if err != nil {
		return err
	}
	done := "Added"
	if parsed.Has("--dry-run") {
		done = "DRY RUN of adding"
	} else if err := added.add(ctx, admin); err != nil {
		return err
	}
	endpoints := make([]string, len(added.listeners))
	for i, l := range added.listeners {
		endpoints[i] = l.Name + "://" + net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
	}
	s.Printf("%s controller %d with directory id %s and endpoints: %s\n", done, added.id, added.directory, strings.Join(endpoints, ", "))
	return nil
}

func (v newVoter) add(ctx context.Context, admin *client.Client) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID, req.Listeners = v.id, v.directory, v.listeners
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return client.Convert(err, "addRaftVoter")
	}
	return nil
}

const isThisOne = "Is this a valid controller configuration file?"

// readVoter reads what Kafka's tool reads, and complains alike.
func readVoter(props map[string]string) (v newVoter, err error) {
	id, found := props["node.id"]
	if !found {
		return v, errors.New("node.id not found in configuration file. " + isThisOne)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
	switch {
	case err != nil:
		return v, fmt.Errorf("node.id=%s is no number", id)
	case n < 0:
		return v, errors.New("node.id was negative in configuration file. " + isThisOne)
	case !strings.Contains(props["process.roles"], "controller"):
		return v, errors.New("process.roles did not contain 'controller' in configuration file. " + isThisOne)
	}
	v.id = int32(n)
	first, _, _ := strings.Cut(strings.TrimSpace(props["log.dirs"]), ",")
	folder := cmp.Or(strings.TrimSpace(props["metadata.log.dir"]), strings.TrimSpace(first))
	if folder == "" {
		return v, errors.New("Neither metadata.log.dir nor log.dirs were found. " + isThisOne) //nolint:staticcheck // the words of Kafka's tools
	}
	if v.directory, err = directoryID(folder); err != nil {
		return v, err
	}
	v.listeners, err = controllerListeners(props)
	return v, err
}

// directoryID is that of a metadata log's folder.
func directoryID(folder string) (id kafka.UUID, err error) {
	meta, err := cli.LoadProperties(filepath.Join(folder, "meta.properties"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return id, errors.New("Unable to read meta.properties from " + folder) //nolint:staticcheck // the words of Kafka's tools
	case err != nil:
		return id, err
	case meta["directory.id"] == "":
		return id, errors.New("No directory id found in " + folder) //nolint:staticcheck // the words of Kafka's tools
	}
	return kafka.ParseUUID(meta["directory.id"])
}

// controllerListeners are where other nodes reach the controller.
func controllerListeners(props map[string]string) ([]kmsg.AddRaftVoterRequestListener, error) {
	all := map[string]kmsg.AddRaftVoterRequestListener{}
	for _, property := range []string{"listeners", "advertised.listeners"} {
		for item := range strings.SplitSeq(props[property], ",") {
			item = strings.TrimSpace(item)
			if item == "" {
				continue
			}
			name, address, ok := strings.Cut(item, "://")
			host, port, err := net.SplitHostPort(address)
			n, badPort := strconv.ParseUint(port, 10, 16)
			if !ok || err != nil || badPort != nil {
				return nil, fmt.Errorf("%s=%s: NAME://host:port is required", property, item)
			}
			name = strings.ToUpper(name)
			all[name] = kmsg.AddRaftVoterRequestListener{Name: name, Host: cmp.Or(host, "localhost"), Port: uint16(n)}
		}
	}
	names, found := props["controller.listener.names"]
	if !found {
		return nil, errors.New("controller.listener.names was not found. " + isThisOne)
	}
	var listeners []kmsg.AddRaftVoterRequestListener
	for name := range strings.SplitSeq(names, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		l, ok := all[name]
		if !ok {
			return nil, errors.New("Cannot find information about controller listener name: " + name) //nolint:staticcheck // the words of Kafka's tools
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}
