package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// MetaProperties says whose a log dir is.
type MetaProperties struct {
	// ClusterID is "" while the node, one of several, has not yet learned which cluster it is of. The file
	// then has a directory id, by which it will be known there.
	ClusterID   string
	NodeID      int32
	DirectoryID kafka.UUID // zero if the file has none
	// Joined says that the node is one of several and that its metadata log was here: without the log the
	// folder has lost something, which one that was only formatted has not.
	Joined bool
}

const metaPropertiesVersion = 1

// FolderFormat is the version of what this release writes into log dirs besides what Kafka does. A release that
// changes it so that older ones would misread a folder raises it and writes it; older ones refuse the folder. Format 1
// is not written: what the file says is then what Kafka's tools say of a folder of theirs.
const FolderFormat = 1

// formatName is Moldau's own line of the file, which Kafka does not look at. Folders without it have format 1.
const formatName = "moldau.format"

// joinedName is Moldau's own line of the file, which Kafka does not look at.
const joinedName = "moldau.joined"

// ReadMetaProperties reads meta.properties; fs.ErrNotExist if there is none, *VersionError for
// another version than 1.
func ReadMetaProperties(fsys vfs.FS, path string) (MetaProperties, error) {
	data, err := vfs.ReadFile(fsys, path, maxSmallFileBytes)
	if err != nil {
		return MetaProperties{}, err
	}
	return parseMetaProperties(path, data)
}

func parseMetaProperties(path string, data []byte) (p MetaProperties, err error) {
	values, err := parseProperties(path, data)
	if err != nil {
		return p, err
	}
	wrong := func(name, expected string) error {
		got, ok := values[name]
		if !ok {
			return &ParseError{Path: path, Expected: "a line " + name + "=" + expected, Got: "none"}
		}
		return &ParseError{Path: path, Expected: name + " to be " + expected, Got: strconv.Quote(got)}
	}
	version, ok := values["version"]
	if !ok {
		version = "0" // before versions were written
	}
	if strings.TrimSpace(version) != strconv.Itoa(metaPropertiesVersion) {
		return p, &VersionError{Path: path, Found: version, Want: metaPropertiesVersion}
	}
	if text, ok := values[formatName]; ok {
		format, err := strconv.Atoi(strings.TrimSpace(text))
		switch {
		case err != nil || format < 1:
			return p, wrong(formatName, "a number from 1 on")
		case format > FolderFormat:
			return p, &NewerFolderError{Path: path, Found: format}
		}
	}
	_, named := values["cluster.id"]
	_, hasDirectory := values["directory.id"]
	if p.ClusterID = values["cluster.id"]; p.ClusterID == "" && (named || !hasDirectory) {
		return p, wrong("cluster.id", "the id of a cluster")
	}
	node, err := strconv.ParseInt(values["node.id"], 10, 32)
	if err != nil || node < 0 {
		return p, wrong("node.id", "a number from 0 on")
	}
	p.NodeID = int32(node)
	if text, ok := values[joinedName]; ok && text != "true" {
		return p, wrong(joinedName, "true")
	} else if ok {
		p.Joined = true
	}
	if text, ok := values["directory.id"]; ok {
		if p.DirectoryID, err = kafka.ParseUUID(text); err != nil {
			return p, wrong("directory.id", "a UUID")
		}
	}
	return p, nil
}

// WriteMetaProperties replaces meta.properties.
func WriteMetaProperties(fsys vfs.FS, path string, p MetaProperties) error {
	values := map[string]string{"version": strconv.Itoa(metaPropertiesVersion), "node.id": strconv.Itoa(int(p.NodeID))}
	if p.ClusterID != "" {
		values["cluster.id"] = p.ClusterID
	}
	if !p.DirectoryID.IsZero() {
		values["directory.id"] = p.DirectoryID.String()
	}
	if p.Joined {
		values[joinedName] = "true"
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&text, "%s=%s\n", name, escapeProperty(values[name]))
	}
	return vfs.WriteFileAtomic(fsys, path, []byte(text.String()))
}

// parseProperties reads the part of Java's properties format that such a file can have:
// comments, "name=value" with the separators '=', ':' and white space, and escapes. A
// value that goes on in the next line is refused.
func parseProperties(path string, data []byte) (map[string]string, error) {
	if !utf8.Valid(data) {
		return nil, &ParseError{Path: path, Expected: "UTF-8 text", Got: "other bytes"}
	}
	values := map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		name, rest, err := unescapeUntil(line, "=: \t\f")
		if err != nil {
			return nil, &ParseError{Path: path, Line: i + 1, Expected: err.Error(), Got: line}
		}
		rest = strings.TrimLeft(rest, " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		value, _, err := unescapeUntil(rest, "")
		if err != nil {
			return nil, &ParseError{Path: path, Line: i + 1, Expected: err.Error(), Got: line}
		}
		values[name] = value
	}
	return values, nil
}

// unescapeUntil reads text up to the first unescaped byte of ends.
func unescapeUntil(text, ends string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if strings.IndexByte(ends, c) >= 0 {
			return b.String(), text[i:], nil
		}
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		if i++; i == len(text) {
			return "", "", fmt.Errorf("a value that ends in its line")
		}
		switch c = text[i]; c {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+4 >= len(text) {
				return "", "", fmt.Errorf("four hexadecimal digits after \\u")
			}
			unit, err := strconv.ParseUint(text[i+1:i+5], 16, 16)
			if err != nil {
				return "", "", fmt.Errorf("four hexadecimal digits after \\u")
			}
			b.WriteRune(rune(unit))
			i += 4
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", nil
}

// escapeProperty escapes what a value cannot have as it is.
func escapeProperty(value string) string {
	value = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r", "\t", "\\t", "\f", "\\f").Replace(value)
	if strings.HasPrefix(value, " ") {
		value = "\\" + value
	}
	return value
}
