package client

import (
	"github.com/moldau/moldau/internal/tools/cli"
)

// Connection is which of a tool's options say to which cluster and how.
type Connection struct {
	Servers, Config *cli.Option
	Controllers     *cli.Option // nil: the tool does not go to controllers
	// Defaults are properties that count where the file does not give them.
	Defaults Properties
}

// Open returns a client for administrative requests, or the first mistake in any of the tool's options
// that have been read.
func (c Connection) Open(s cli.Streams, set *cli.Set) (*Client, error) {
	props, err := LoadCommandConfig(set, c.Config)
	if err != nil {
		return nil, err
	}
	for name, value := range c.Defaults {
		if props[name] == "" {
			props[name] = value
		}
	}
	servers, controllers := set.String(c.Servers), ""
	if c.Controllers != nil {
		controllers = set.String(c.Controllers)
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return NewAdminOf(s, props, servers, controllers)
}

// OpenParsed does the same for tools in argparse's style, whose options have the usual names but for
// that of the file.
func OpenParsed(s cli.Streams, parsed *cli.Parsed, config string) (*Client, error) {
	props := Properties{}
	if file := parsed.Value(config); file != "" {
		loaded, err := cli.LoadProperties(file)
		if err != nil {
			return nil, err
		}
		props = loaded
	}
	return NewAdminOf(s, props, parsed.Value("--bootstrap-server"), parsed.Value("--bootstrap-controller"))
}
