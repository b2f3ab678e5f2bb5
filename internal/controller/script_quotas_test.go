package controller

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// The script commands quota and permits.

func (cl *cluster) quota(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Version, req.ValidateOnly = 1, validate
	for _, fields := range lines {
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for _, field := range fields {
			key, value, _ := strings.Cut(field, "=")
			if kind, isEntity := strings.CutPrefix(key, "@"); isEntity {
				part := kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: &value}
				if value == "<default>" {
					part.Name = nil
				}
				entry.Entity = append(entry.Entity, part)
				continue
			}
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Remove = strings.CutPrefix(key, "-")
			if !op.Remove {
				var err error
				if op.Value, err = strconv.ParseFloat(value, 64); err != nil {
					cl.t.Fatal(err)
				}
			}
			entry.Ops = append(entry.Ops, op)
		}
		req.Entries = append(req.Entries, entry)
	}
	resp, records := cl.handle(req)
	for _, entry := range resp.(*kmsg.AlterClientQuotasResponse).Entries {
		for _, part := range entry.Entity {
			name := "<default>"
			if part.Name != nil {
				name = *part.Name
			}
			fmt.Fprintf(out, "%s=%s ", part.Type, name)
		}
		fmt.Fprintln(out, outcome(entry.ErrorCode, entry.ErrorMessage))
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

func (cl *cluster) describeQuotas(out *strings.Builder) {
	for q := range cl.image.ClientQuotas() {
		fmt.Fprintf(out, "quota %s:", entityText(q.Entity))
		for _, key := range slices.Sorted(maps.Keys(q.Limits)) {
			fmt.Fprintf(out, " %s=%s", key, kafka.JavaFloat(q.Limits[key], 64))
		}
		fmt.Fprintln(out)
	}
}

// permits lets so many partitions be created or deleted: after the first refusal nothing is.
func (cl *cluster) permits(n int) {
	cl.permit = func(partitions int) error {
		if n < 0 {
			return kafka.Errorf(kafka.ErrThrottlingQuotaExceeded, "The throttling quota has been exceeded.")
		}
		n -= partitions
		return nil
	}
}
