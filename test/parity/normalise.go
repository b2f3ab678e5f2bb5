package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// normalise writes a response as indented JSON without what differs from broker to broker.
func normalise(response kmsg.Response) string {
	if response == nil {
		return "no answer"
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plain(reflect.ValueOf(response).Elem(), "")); err != nil {
		return err.Error()
	}
	return out.String()
}

// hidden are fields that say nothing about behaviour.
var hidden = map[string]bool{"Version": true, "UnknownTags": true, "ThrottleMillis": true, "Host": true, "ClusterID": true, "MemberID": true,
	"LeaderID": true, "SessionID": true, "ProducerID": true, "FinalizedFeatures": true, "SupportedFeatures": true, "FinalizedFeaturesEpoch": true, "ClientHost": true}

func plain(v reflect.Value, name string) any {
	switch v.Kind() {
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i).Name
			if hidden[f] {
				if shown := hiddenShape(v.Field(i)); shown != "" {
					fields[f] = shown
				}
				continue
			}
			fields[f] = plain(v.Field(i), f)
		}
		// Beside an error code Moldau may say more than Apache Kafka does, and beside a success less.
		if _, ok := fields["ErrorCode"]; ok {
			delete(fields, "ErrorMessage")
		}
		return fields
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if name == "ErrorMessage" {
			return "<message>"
		}
		return plain(v.Elem(), name)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%x", v.Bytes())
		}
		items := []any{}
		for i := range v.Len() {
			items = append(items, plain(v.Index(i), name))
		}
		return items
	case reflect.Array: // a UUID
		if v.IsZero() {
			return "no id"
		}
		return "<id>"
	case reflect.Int64:
		if n := v.Int(); strings.Contains(name, "Timestamp") || strings.Contains(name, "Append") {
			if now := time.Now().UnixMilli(); n > now-3600_000 && n < now+3600_000 {
				return "<now>"
			}
		}
		return v.Int()
	case reflect.Uint16:
		if name == "Port" {
			return "<port>"
		}
	case reflect.Int8, reflect.Int16, reflect.Int32:
		if name == "Port" {
			return "<port>"
		}
		return v.Int()
	}
	return v.Interface()
}

// hiddenShape keeps of a hidden value only whether it is there.
func hiddenShape(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 {
			return "<text>"
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return "<text>"
		}
	case reflect.Int32, reflect.Int64:
		if v.Int() > 0 {
			return "<number>"
		}
	}
	return ""
}
