package config

import "strings"

// values are given broker config values by name, valid ones only.
type values map[string]string

// get returns the given value or the default; the zero Value where that is null.
func (v values) get(name string) Value {
	d := brokerDefs[name]
	raw, ok := v[name]
	if !ok {
		if d.NullDefault {
			return Value{}
		}
		raw = d.Default
	}
	value, err := d.Parse(raw)
	if err != nil {
		panic("BUG: a broker config was not validated: " + err.Error())
	}
	return value
}

// text returns the canonical value, nil where there is none.
func (v values) text(d *Def) *string {
	if _, ok := v[d.Name]; !ok && d.NullDefault {
		return nil
	}
	text := v.get(d.Name).Text
	return &text
}

func (v values) int32(name string) int32 { return int32(v.get(name).Int) }

// int32OfListener is a config that single listeners may set for themselves.
func (v values) int32OfListener(listener, name string) int32 {
	if text, ok := v[listenerPrefix+strings.ToLower(listener)+"."+name]; ok {
		if value, err := brokerDefs[name].Parse(text); err == nil { // else it was refused
			return int32(value.Int)
		}
	}
	return v.int32(name)
}

func (v values) int16(name string) int16 { return int16(v.get(name).Int) }
func (v values) int64(name string) int64 { return v.get(name).Int }
func (v values) bool(name string) bool   { return v.get(name).Bool }
