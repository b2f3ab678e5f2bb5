package dumplog

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/internaltopics"
)

// decoded is what a decoder shows of a record.
type decoded struct {
	hasKey, hasValue bool
	key, value       []byte
}

// decoder shows a record. An error ends the tool.
type decoder func(r record.Record, offset int64) (decoded, error)

// decoder returns the one that the options ask for, and whether they want records to be printed.
func (o options) decoder(set *cli.Set) (decoder, bool, error) {
	switch {
	case set.Has(o.offsets):
		return coordinatorDecoder(internaltopics.DecodeGroupRecord), true, nil
	case set.Has(o.transactions):
		return coordinatorDecoder(internaltopics.DecodeTransactionRecord), true, nil
	case set.Has(o.metadata):
		return decodeMetadata, true, nil
	case set.Has(o.share):
		return coordinatorDecoder(internaltopics.DecodeShareRecord), true, nil
	case set.Has(o.remote):
		return nil, false, errors.New("--remote-log-metadata-decoder is not supported: Moldau has no tiered storage")
	}
	for _, option := range []*cli.Option{o.valueDecoder, o.keyDecoder} {
		if class := set.String(option); class != stringDecoder {
			return nil, false, fmt.Errorf("--%s %s is not supported: only %s is built in", option.Name, class, stringDecoder)
		}
	}
	return decodeText, set.Has(o.print) || set.Has(o.valueDecoder) || set.Has(o.keyDecoder), nil
}

func decodeText(r record.Record, _ int64) (decoded, error) {
	return decoded{hasKey: r.Key != nil, hasValue: r.Value != nil, key: appendText(nil, r.Key), value: appendText(nil, r.Value)}, nil
}

// coordinatorDecoder shows records of a coordinator's topic. One that cannot be read is said to be
// skipped; only a record without a key ends the tool.
func coordinatorDecoder(decode func(key, value []byte) (internaltopics.Record, error)) decoder {
	return func(r record.Record, offset int64) (decoded, error) {
		if r.Key == nil {
			return decoded{}, fmt.Errorf("Failed to decode message at offset %d using the specified decoder (message had a missing key)", offset) //nolint:staticcheck // the words of Kafka's tools
		}
		rec, err := decode(r.Key, r.Value)
		if unknown, ok := errors.AsType[*internaltopics.UnknownKindError](err); ok {
			return decoded{hasKey: true, key: fmt.Appendf(nil, "Unknown record type %d at offset %d, skipping.", unknown.Kind, offset)}, nil
		}
		if err != nil {
			return decoded{hasKey: true, key: fmt.Appendf(nil, "Error at offset %d, skipping. %v", offset, err)}, nil
		}
		rec.OpenMembers()
		d := decoded{hasKey: true, hasValue: true, value: []byte("<DELETE>")}
		d.key = rec.Key.Append(fmt.Appendf(nil, `{"type":"%d","data":`, rec.Kind))
		d.key = append(d.key, '}')
		if !rec.IsTombstone {
			d.value = rec.Value.Append(fmt.Appendf(nil, `{"version":"%d","data":`, rec.Version))
			d.value = append(d.value, '}')
		}
		return d, nil
	}
}

func decodeMetadata(r record.Record, offset int64) (decoded, error) {
	rec, version, err := metadata.DecodeVersioned(r.Value)
	if err != nil {
		return decoded{hasValue: true, value: fmt.Appendf(nil, "Error at %d, skipping. %v", offset, err)}, nil
	}
	return decoded{hasValue: true, value: metadata.JSON(rec, version)}, nil
}

// appendText appends bytes as Java makes text of them: bytes that are not UTF-8 become the
// replacement character, one for those that might have begun a character.
func appendText(dst, src []byte) []byte {
	for len(src) > 0 {
		r, size := utf8.DecodeRune(src)
		if r == utf8.RuneError && size == 1 {
			size = malformedBytes(src)
		}
		dst = utf8.AppendRune(dst, r)
		src = src[size:]
	}
	return dst
}

// malformedBytes is how many bytes at the start of src Java takes together as one that it cannot read.
func malformedBytes(src []byte) int {
	following, least, most := 0, byte(0x80), byte(0xbf)
	switch first := src[0]; {
	case first >= 0xc2 && first <= 0xdf:
		following = 1
	case first >= 0xe0 && first <= 0xef:
		following = 2
	case first >= 0xf0 && first <= 0xf4:
		following = 3
	}
	switch src[0] {
	case 0xe0:
		least = 0xa0
	case 0xf0:
		least = 0x90
	case 0xf4:
		most = 0x8f
	}
	n := 1
	for n <= following && n < len(src) && src[n] >= least && src[n] <= most {
		n++
		least, most = 0x80, 0xbf
	}
	return n
}
