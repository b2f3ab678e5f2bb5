package producer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lineReader turns lines into records. Bytes stay as they are: unlike Kafka's reader, which
// decodes UTF-8, it lets any bytes through.
type lineReader struct {
	in     *bufio.Reader
	prompt func()

	parseKey, parseHeaders, ignoreError bool
	keySeparator                        string
	headersDelimiter                    string
	headersSeparator                    *regexp.Regexp
	headersKeySeparator                 string
	nullMarker                          *string
	lineNumber                          int
}

// newLineReader reads the properties by Kafka's names; prompt is called before each line.
func newLineReader(in io.Reader, props map[string]string, prompt func()) (*lineReader, error) {
	text := func(name, otherwise string) string {
		if value, ok := props[name]; ok {
			return value
		}
		return otherwise
	}
	isTrue := func(name string) bool { return strings.EqualFold(strings.TrimSpace(props[name]), "true") }
	r := &lineReader{
		in: bufio.NewReaderSize(in, 64<<10), prompt: prompt,
		parseKey: isTrue("parse.key"), parseHeaders: isTrue("parse.headers"), ignoreError: isTrue("ignore.error"),
		keySeparator:        text("key.separator", "\t"),
		headersDelimiter:    text("headers.delimiter", "\t"),
		headersKeySeparator: text("headers.key.separator", ":"),
	}
	separator := text("headers.separator", ",")
	if marker, ok := props["null.marker"]; ok {
		r.nullMarker = &marker
	}
	if err := r.checkDistinct(separator); err != nil {
		return nil, err
	}
	var err error
	if r.headersSeparator, err = regexp.Compile(separator); err != nil {
		return nil, fmt.Errorf("headers.separator is not a regular expression: %w", err)
	}
	return r, nil
}

func (r *lineReader) checkDistinct(headersSeparator string) error {
	switch {
	case r.headersDelimiter == headersSeparator:
		return errors.New("headers.delimiter and headers.separator may not be equal")
	case r.headersDelimiter == r.headersKeySeparator:
		return errors.New("headers.delimiter and headers.key.separator may not be equal")
	case headersSeparator == r.headersKeySeparator:
		return errors.New("headers.separator and headers.key.separator may not be equal")
	case r.isNull(r.keySeparator):
		return errors.New("null.marker and key.separator may not be equal")
	case r.isNull(headersSeparator):
		return errors.New("null.marker and headers.separator may not be equal")
	case r.isNull(r.headersDelimiter):
		return errors.New("null.marker and headers.delimiter may not be equal")
	case r.isNull(r.headersKeySeparator):
		return errors.New("null.marker and headers.key.separator may not be equal")
	}
	return nil
}

func (r *lineReader) isNull(field string) bool { return r.nullMarker != nil && field == *r.nullMarker }

// next returns the record of the next line, io.EOF after the last.
func (r *lineReader) next() (*kgo.Record, error) {
	r.lineNumber++
	r.prompt()
	line, err := r.in.ReadBytes('\n')
	if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
		return nil, err
	}
	return r.parse(string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))))
}

func (r *lineReader) parse(line string) (*kgo.Record, error) {
	record := &kgo.Record{}
	rest := line
	headers, found, err := r.cut(r.parseHeaders, &rest, line, r.headersDelimiter, "headers delimiter")
	if err != nil {
		return nil, err
	}
	if found && !r.isNull(headers) {
		if record.Headers, err = r.splitHeaders(headers); err != nil {
			return nil, err
		}
	}
	key, found, err := r.cut(r.parseKey, &rest, line, r.keySeparator, "key separator")
	if err != nil {
		return nil, err
	}
	if found && !r.isNull(key) {
		record.Key = []byte(key)
	}
	if !r.isNull(rest) {
		record.Value = []byte(rest)
	}
	return record, nil
}

// cut takes a field that ends with a separator from the front of rest.
func (r *lineReader) cut(enabled bool, rest *string, line, separator, name string) (field string, found bool, err error) {
	if !enabled {
		return "", false, nil
	}
	field, after, found := strings.Cut(*rest, separator)
	if !found {
		if r.ignoreError {
			return "", false, nil
		}
		return "", false, fmt.Errorf("No %s found on line number %d: '%s'", name, r.lineNumber, line) //nolint:staticcheck // the words of Kafka's tools
	}
	*rest = after
	return field, true, nil
}

func (r *lineReader) splitHeaders(text string) ([]kgo.RecordHeader, error) {
	pairs := r.headersSeparator.Split(text, -1)
	for len(pairs) > 1 && pairs[len(pairs)-1] == "" {
		pairs = pairs[:len(pairs)-1]
	}
	headers := make([]kgo.RecordHeader, 0, len(pairs))
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, r.headersKeySeparator)
		switch {
		case !found && r.ignoreError:
			headers = append(headers, kgo.RecordHeader{Key: pair})
			continue
		case !found:
			return nil, fmt.Errorf("No header key separator found in pair '%s' on line number %d", pair, r.lineNumber) //nolint:staticcheck // the words of Kafka's tools
		case r.isNull(key):
			return nil, fmt.Errorf("Header keys should not be equal to the null marker '%s' as they can't be null", *r.nullMarker) //nolint:staticcheck // the words of Kafka's tools
		}
		header := kgo.RecordHeader{Key: key}
		if !r.isNull(value) {
			header.Value = []byte(value)
		}
		headers = append(headers, header)
	}
	return headers, nil
}
