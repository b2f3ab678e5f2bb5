package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// Type is the type of a config's value, numbered as DescribeConfigs does.
type Type int8

// The config types.
const (
	Bool     Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

// Importance is how much attention a config deserves.
type Importance int8

// The degrees of importance.
const (
	Low Importance = iota
	Medium
	High
)

// DynamicMode says how a broker config can be changed while brokers run.
type DynamicMode int8

// The dynamic modes of Kafka's documentation.
const (
	ReadOnly    DynamicMode = iota // only at start
	PerBroker                      // for one broker
	ClusterWide                    // for one broker or as the cluster's default
)

// Def is one config: a row of a table.
type Def struct {
	Name        string
	Type        Type
	Default     string // in canonical form; meaningless where NullDefault is set
	NullDefault bool
	Valid       Validator
	Importance  Importance
	Mode        DynamicMode
	Usage       Usage
	Doc         string
}

// Usage says what this version of Moldau does with a config.
type Usage int8

// The degrees of usage.
const (
	Unused      Usage = iota // accepted, validated, shown, without effect
	Used                     // has effect
	Internal                 // one of Kafka's undocumented ones: accepted, not shown
	DynamicOnly              // exists only as a dynamic config
)

// Sensitive reports whether values must never be printed nor described.
func (d *Def) Sensitive() bool { return d.Type == Password }

// Validator is what a value must satisfy beyond its type. The zero value allows everything.
type Validator struct {
	Allowed string // for error messages, such as "at least 1"
	check   func(v Value) bool
}

// Value is a parsed config value: the field of the config's type is set.
type Value struct {
	Bool   bool
	Int    int64 // Int, Short, Long
	Double float64
	List   []string
	Text   string // the canonical form of every type
}

// ValueError says which value is not valid for which config, and what is.
type ValueError struct {
	Name    string
	Value   string // "[hidden]" for passwords
	Allowed string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Name, e.Allowed)
}

// Parse checks raw against the config's type and validator. The error is a *ValueError.
func (d *Def) Parse(raw string) (Value, error) {
	v, allowed := parseType(d.Type, strings.TrimSpace(raw))
	if allowed == "" && d.Valid.check != nil && !d.Valid.check(v) {
		allowed = d.Valid.Allowed + " is required"
	}
	if allowed == "" {
		return v, nil
	}
	if d.Sensitive() {
		raw = "[hidden]"
	}
	return Value{}, &ValueError{Name: d.Name, Value: raw, Allowed: allowed}
}

// check is Parse for those who want the error only.
func (d *Def) check(raw string) error {
	_, err := d.Parse(raw)
	return err
}

// parseType returns what is allowed instead where raw does not have type t.
func parseType(t Type, raw string) (v Value, allowed string) {
	v.Text = raw
	var err error
	switch t {
	case Bool:
		switch {
		case strings.EqualFold(raw, "true"):
			v.Bool = true
		case !strings.EqualFold(raw, "false"):
			return v, "true or false is required"
		}
		v.Text = strconv.FormatBool(v.Bool)
	case Int, Short, Long:
		bits := map[Type]int{Int: 32, Short: 16, Long: 64}[t]
		if v.Int, err = strconv.ParseInt(raw, 10, bits); err != nil {
			return v, fmt.Sprintf("a whole number of %d bits is required", bits)
		}
		v.Text = strconv.FormatInt(v.Int, 10)
	case Double:
		if v.Double, err = parseDouble(raw); err != nil || math.IsNaN(v.Double) || math.IsInf(v.Double, 0) {
			return v, "a number is required"
		}
		v.Text = kafka.JavaFloat(v.Double, 64)
	case List:
		if raw != "" {
			for item := range strings.SplitSeq(raw, ",") {
				// What is repeated counts once, as in Kafka 4 (KIP-1161).
				if item = strings.TrimSpace(item); !slices.Contains(v.List, item) {
					v.List = append(v.List, item)
				}
			}
		}
		v.Text = strings.Join(v.List, ",")
	}
	return v, ""
}

// parseDouble reads what Java does: d or f may end a decimal number, and nothing separates digits.
func parseDouble(raw string) (float64, error) {
	if strings.ContainsRune(raw, '_') {
		return 0, strconv.ErrSyntax
	}
	if digits := strings.TrimRight(raw, "dDfF"); len(raw)-len(digits) == 1 && !strings.ContainsAny(raw, "xX") {
		raw = digits
	}
	return strconv.ParseFloat(raw, 64)
}

func atLeast(minimum int64) Validator {
	return Validator{fmt.Sprintf("at least %d", minimum), func(v Value) bool { return v.Int >= minimum }}
}

func between(low, high int64) Validator {
	return Validator{fmt.Sprintf("a number from %d to %d", low, high), func(v Value) bool { return v.Int >= low && v.Int <= high }}
}

func betweenDouble(low, high float64) Validator {
	return Validator{fmt.Sprintf("a number from %g to %g", low, high), func(v Value) bool { return v.Double >= low && v.Double <= high }}
}

func oneOf(names ...string) Validator {
	return Validator{"one of " + strings.Join(names, ", "), func(v Value) bool { return slices.Contains(names, v.Text) }}
}

func oneOfFold(names ...string) Validator {
	return Validator{"one of " + strings.Join(names, ", "), func(v Value) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, v.Text) })
	}}
}

// gzipLevel allows -1, zlib's own default, besides the levels.
func gzipLevel() Validator {
	return Validator{"-1 or a number from 1 to 9", func(v Value) bool { return v.Int == -1 || v.Int >= 1 && v.Int <= 9 }}
}

func nonEmpty() Validator {
	return Validator{"a text that is not empty", func(v Value) bool { return v.Text != "" }}
}

// listOf allows a list of items out of names (any, where there are none).
func listOf(names ...string) Validator {
	allowed := "a list without empty items"
	if len(names) > 0 {
		allowed = "a list of " + strings.Join(names, ", ")
	}
	return Validator{allowed, func(v Value) bool {
		for _, item := range v.List {
			if item == "" || len(names) > 0 && !slices.Contains(names, item) {
				return false
			}
		}
		return true
	}}
}

func nonEmptyListOf(names ...string) Validator {
	any := listOf(names...)
	return Validator{any.Allowed + ", not empty", func(v Value) bool { return len(v.List) > 0 && any.check(v) }}
}

// throttledReplicas is "*", nothing, or partition:broker pairs.
// brokerIDs is a list of numbers of brokers.
func brokerIDs() Validator {
	return Validator{"a list of broker ids", func(v Value) bool {
		return !slices.ContainsFunc(v.List, func(id string) bool { n, err := strconv.ParseInt(id, 10, 32); return err != nil || n < 0 })
	}}
}

func throttledReplicas() Validator {
	return Validator{"* or a list of partition:broker", func(v Value) bool {
		if v.Text == "*" {
			return true
		}
		for _, item := range v.List {
			if item == "" { // Kafka takes it
				continue
			}
			partition, broker, ok := strings.Cut(item, ":")
			_, err1 := strconv.ParseUint(partition, 10, 31)
			_, err2 := strconv.ParseUint(broker, 10, 31)
			if !ok || err1 != nil || err2 != nil {
				return false
			}
		}
		return true
	}}
}
