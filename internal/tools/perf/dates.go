package perf

import (
	"fmt"
	"strings"
	"time"
)

// dateFormat prints times by the letters of Java's SimpleDateFormat.
type dateFormat struct{ parts []func(time.Time) string }

// newDateFormat refuses letters that it does not know.
func newDateFormat(pattern string) (*dateFormat, error) {
	f := &dateFormat{}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		end := i + 1
		for end < len(pattern) && pattern[end] == c {
			end++
		}
		switch {
		case c == '\'':
			text, next := quoted(pattern, i+1)
			f.literal(text)
			end = next
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			part, ok := dateField(c, end-i)
			if !ok {
				return nil, fmt.Errorf("--date-format %s: the letter '%c' is not known to this tool", pattern, c)
			}
			f.parts = append(f.parts, part)
		default:
			f.literal(pattern[i:end])
		}
		i = end
	}
	return f, nil
}

// quoted reads up to the closing quote; two quotes stand for one.
func quoted(pattern string, from int) (text string, next int) {
	if from < len(pattern) && pattern[from] == '\'' {
		return "'", from + 1
	}
	text, _, found := strings.Cut(pattern[from:], "'")
	next = from + len(text)
	if found {
		next++
	}
	return text, next
}

func (f *dateFormat) literal(text string) {
	f.parts = append(f.parts, func(time.Time) string { return text })
}

func (f *dateFormat) format(t time.Time) string {
	var b strings.Builder
	for _, part := range f.parts {
		b.WriteString(part(t))
	}
	return b.String()
}

func dateField(letter byte, count int) (func(time.Time) string, bool) {
	number := func(value func(time.Time) int) (func(time.Time) string, bool) {
		return func(t time.Time) string { return fmt.Sprintf("%0*d", count, value(t)) }, true
	}
	layout := func(short, long string) (func(time.Time) string, bool) {
		return func(t time.Time) string {
			if count >= 4 {
				return t.Format(long)
			}
			return t.Format(short)
		}, true
	}
	switch letter {
	case 'y':
		if count == 2 {
			return layout("06", "06")
		}
		return number(time.Time.Year)
	case 'M':
		if count >= 3 {
			return layout("Jan", "January")
		}
		return number(func(t time.Time) int { return int(t.Month()) })
	case 'd':
		return number(time.Time.Day)
	case 'H':
		return number(time.Time.Hour)
	case 'h':
		return number(func(t time.Time) int { return (t.Hour()+11)%12 + 1 })
	case 'm':
		return number(time.Time.Minute)
	case 's':
		return number(time.Time.Second)
	case 'S':
		return number(func(t time.Time) int { return t.Nanosecond() / int(time.Millisecond) })
	case 'a':
		return layout("PM", "PM")
	case 'E':
		return layout("Mon", "Monday")
	case 'z':
		return layout("MST", "MST")
	case 'Z':
		return layout("-0700", "-0700")
	}
	return nil, false
}
