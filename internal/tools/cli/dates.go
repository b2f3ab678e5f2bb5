package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseDatetime reads YYYY-MM-DDThh:mm:ss.sss, in UTC unless a zone follows.
func ParseDatetime(text string) (timestampMs int64, err error) {
	_, clock, ok := strings.Cut(text, "T")
	if !ok || clock == "" {
		return 0, errors.New("java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
	}
	if !strings.ContainsAny(clock, "+-Z") {
		text += "Z"
	}
	for _, layout := range []string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05.000Z07"} {
		if parsed, err := time.Parse(layout, text); err == nil {
			return parsed.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("java.text.ParseException: Unparseable date: \"%s\"", text)
}

var durationPattern = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?$`)

// ParseDuration reads ISO-8601 durations of days, hours, minutes and seconds: P1DT2H3M4.5S.
func ParseDuration(text string) (time.Duration, error) {
	failed := errors.New("Text cannot be parsed to a Duration") //nolint:staticcheck // the words of Kafka's tools
	groups := durationPattern.FindStringSubmatch(text)
	if groups == nil || strings.EqualFold(groups[3], "T") || groups[2]+groups[3] == "" {
		return 0, failed
	}
	var total time.Duration
	for i, unit := range map[int]time.Duration{2: 24 * time.Hour, 4: time.Hour, 5: time.Minute, 6: time.Second} {
		if groups[i] == "" {
			continue
		}
		count, err := strconv.ParseInt(strings.TrimPrefix(groups[i], "+"), 10, 64)
		if err != nil || count > int64(1<<62)/int64(unit) || count < -int64(1<<62)/int64(unit) {
			return 0, failed
		}
		total += time.Duration(count) * unit
	}
	if groups[7] != "" {
		nanos, err := strconv.ParseInt((groups[7] + "000000000")[:9], 10, 64)
		if err != nil {
			return 0, failed
		}
		if strings.HasPrefix(groups[6], "-") {
			nanos = -nanos
		}
		total += time.Duration(nanos)
	}
	if groups[1] == "-" {
		total = -total
	}
	return total, nil
}
