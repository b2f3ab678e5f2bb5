package config

import (
	"fmt"
	"io"

	"github.com/magiconair/properties"
)

// maxPropertiesBytes bounds a properties file; real ones have a few kilobytes.
const maxPropertiesBytes = 1 << 20

// ParseProperties reads a Java properties file, such as Kafka's server.properties. Of a
// name that is given twice the last value counts, as in Java; ${…} is left as it stands.
func ParseProperties(r io.Reader) (map[string]string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPropertiesBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading properties: %w", err)
	}
	if len(data) > maxPropertiesBytes {
		return nil, fmt.Errorf("the properties have more than %d bytes", maxPropertiesBytes)
	}
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return nil, fmt.Errorf("the properties cannot be parsed: %w", err)
	}
	return p.Map(), nil
}
