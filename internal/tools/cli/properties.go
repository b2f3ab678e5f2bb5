package cli

import (
	"fmt"
	"strings"

	"github.com/magiconair/properties"
)

// LoadProperties reads a Java properties file. Values stay as they are: ${...} is not expanded.
func LoadProperties(path string) (map[string]string, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	loaded, err := loader.LoadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the properties file %s: %w", path, err)
	}
	return loaded.Map(), nil
}

// ParseKeyValues reads arguments of the form key=value; a later one wins. A missing value
// counts as empty.
func ParseKeyValues(args []string) map[string]string {
	result := make(map[string]string, len(args))
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		result[key] = value
	}
	return result
}
