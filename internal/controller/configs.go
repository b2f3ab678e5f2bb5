package controller

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxConfigValueBytes is Kafka's bound on one value.
const maxConfigValueBytes = math.MaxInt16

// configChange is one operation on one config. AlterConfigs knows SET only.
type configChange struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// alteration is what one request changes of one resource.
type alteration struct {
	resource kafka.ConfigResource
	changes  []configChange
}

func (c *Controller) incrementalAlterConfigs(in Input, req *kmsg.IncrementalAlterConfigsRequest) Result {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Version = req.Version
	alterations, replaceAll := alterationsOf(req)
	records, errs := c.alterResources(in.Image, alterations, replaceAll)
	for i, err := range errs {
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		if err != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		}
		resp.Resources = append(resp.Resources, answer)
	}
	if req.ValidateOnly {
		records = nil
	}
	return Result{Response: resp, Records: records}
}

func (c *Controller) alterConfigs(in Input, req *kmsg.AlterConfigsRequest) Result {
	resp := kmsg.NewPtrAlterConfigsResponse()
	resp.Version = req.Version
	alterations, replaceAll := alterationsOf(req)
	records, errs := c.alterResources(in.Image, alterations, replaceAll)
	for i, err := range errs {
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		if err != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		}
		resp.Resources = append(resp.Resources, answer)
	}
	if req.ValidateOnly {
		records = nil
	}
	return Result{Response: resp, Records: records}
}

// alterationsOf returns what a request alters, and whether that replaces everything that a resource has.
func alterationsOf(req kmsg.Request) (alterations []alteration, replaceAll bool) {
	switch req := req.(type) {
	case *kmsg.IncrementalAlterConfigsRequest:
		for i := range req.Resources {
			r := &req.Resources[i]
			a := alteration{resource: resourceOf(r.ResourceType, r.ResourceName)}
			for _, config := range r.Configs {
				a.changes = append(a.changes, configChange{config.Name, config.Op, config.Value})
			}
			alterations = append(alterations, a)
		}
	case *kmsg.AlterConfigsRequest:
		replaceAll = true
		for i := range req.Resources {
			r := &req.Resources[i]
			a := alteration{resource: resourceOf(r.ResourceType, r.ResourceName)}
			for _, config := range r.Configs {
				a.changes = append(a.changes, configChange{config.Name, kmsg.IncrementalAlterConfigOpSet, config.Value})
			}
			alterations = append(alterations, a)
		}
	}
	return alterations, replaceAll
}

// CheckOwnConfigs checks what a request alters of a broker's own dynamic configs, in the given place, by that broker's properties. As in Kafka the
// broker does so before the active controller decides, which knows the properties of its own node only. The error is to be answered.
func CheckOwnConfigs(properties *config.Broker, image *metadata.Image, req kmsg.Request, place int) error {
	alterations, replaceAll := alterationsOf(req)
	c := New(Options{Broker: properties, NodeID: properties.NodeID})
	_, err := c.alterResource(image, alterations[place], replaceAll)
	return err
}

// alterResources returns the records that carry out those of alterations that are valid, and what
// is wrong with the others. With replaceAll, configs that an alteration does not name are removed
// (the old AlterConfigs).
func (c *Controller) alterResources(image *metadata.Image, alterations []alteration, replaceAll bool) (records []metadata.Record, errs []error) {
	occurrences := make(map[kafka.ConfigResource]int, len(alterations))
	for _, a := range alterations {
		occurrences[a.resource]++
	}
	errs = make([]error, len(alterations))
	for i, a := range alterations {
		if occurrences[a.resource] > 1 {
			errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "Each resource must appear at most once.")
			continue
		}
		var altered []metadata.Record
		altered, errs[i] = c.alterResource(image, a, replaceAll)
		records = append(records, altered...)
	}
	return append(records, c.followConfigs(image, records)...), errs
}

func resourceOf(t kmsg.ConfigResourceType, name string) kafka.ConfigResource {
	return kafka.ConfigResource{Type: kafka.ConfigResourceType(t), Name: name}
}

// alterResource returns the records that change one resource.
func (c *Controller) alterResource(image *metadata.Image, a alteration, replaceAll bool) ([]metadata.Record, error) {
	resource, changes := a.resource, a.changes
	if err := checkChanges(changes); err != nil {
		return nil, err
	}
	if err := checkResource(image, resource); err != nil {
		return nil, err
	}
	current := image.Config(resource)
	proposed := map[string]string{}
	if !replaceAll {
		maps.Copy(proposed, current)
	} else if resource.Type == kafka.ConfigResourceBroker {
		keepRequests(proposed, current)
	}
	for _, change := range changes {
		if err := applyChange(proposed, resource.Type, change); err != nil {
			return nil, err
		}
	}
	if err := c.validate(image, resource, current, proposed); err != nil {
		return nil, err
	}
	if err := checkMinISR(image, resource, changes); err != nil {
		return nil, err
	}
	if resource.Type == kafka.ConfigResourceTopic && image.TopicByName(resource.Name) == nil {
		return nil, kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "The topic '%s' does not exist.", resource.Name)
	}
	return configRecords(resource, current, proposed, changes), nil
}

// keepRequests keeps what the balancer was asked for: a client that replaces all configs of the brokers does not
// know of it, and does not mean to end a drain.
func keepRequests(proposed, current map[string]string) {
	for _, name := range []string{config.DrainingBrokers, config.JoiningBrokers} {
		if value, isSet := current[name]; isSet {
			proposed[name] = value
		}
	}
}

// validate checks what the configs of resource would be after a change.
func (c *Controller) validate(image *metadata.Image, resource kafka.ConfigResource, current, proposed map[string]string) error {
	switch resource.Type {
	case kafka.ConfigResourceTopic:
		return c.layers(image).ValidateTopicConfigs(current, proposed)
	case kafka.ConfigResourceGroup:
		return c.layers(image).ValidateGroupConfigs(proposed)
	case kafka.ConfigResourceClientMetrics:
		return config.ValidateClientMetricsConfigs(proposed)
	default:
		if resource.Name != "" && resource.Name != strconv.Itoa(int(c.o.NodeID)) {
			return config.ValidateOtherBrokerConfigs(proposed) // it has checked the rest, see CheckOwnConfigs
		}
		return c.layers(image).ValidateBrokerConfigs(proposed, resource.Name != "")
	}
}

// checkChanges checks what can be told without the present configs.
func checkChanges(changes []configChange) error {
	seen := make(map[string]bool, len(changes))
	var null []string
	for _, change := range changes {
		if seen[change.name] {
			return kafka.Errorf(kafka.ErrInvalidRequest, "Error due to duplicate config keys")
		}
		seen[change.name] = true
		if change.op < kmsg.IncrementalAlterConfigOpSet || change.op > kmsg.IncrementalAlterConfigOpSubtract {
			return kafka.Errorf(kafka.ErrInvalidRequest, "Unknown operations type %d", int8(change.op))
		}
		if change.value == nil && change.op != kmsg.IncrementalAlterConfigOpDelete {
			null = append(null, change.name)
		}
	}
	if len(null) > 0 {
		return kafka.Errorf(kafka.ErrInvalidRequest, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	return nil
}

func checkResource(image *metadata.Image, resource kafka.ConfigResource) error {
	switch resource.Type {
	case kafka.ConfigResourceTopic:
		if resource.Name == "" {
			return kafka.Errorf(kafka.ErrInvalidRequest, "Default topic resources are not allowed.")
		}
		return kafka.ValidateTopicName(resource.Name)
	case kafka.ConfigResourceBroker:
		if resource.Name == "" {
			return nil // the default for all brokers
		}
		id, err := strconv.ParseInt(resource.Name, 10, 32)
		if err != nil {
			return kafka.Errorf(kafka.ErrInvalidRequest, "Node id must be an integer, but it is: %s", resource.Name)
		}
		if image.Broker(int32(id)) == nil && image.Controller(int32(id)) == nil {
			return kafka.Errorf(kafka.ErrBrokerIDNotRegistered, "No node with id %d found.", id)
		}
		return nil
	case kafka.ConfigResourceGroup:
		if resource.Name == "" {
			return kafka.Errorf(kafka.ErrInvalidRequest, "Default group resources are not allowed.")
		}
		return nil
	case kafka.ConfigResourceClientMetrics:
		if resource.Name == "" {
			return kafka.Errorf(kafka.ErrInvalidRequest, "The name of a client metrics subscription must not be empty.")
		}
		return nil
	}
	return kafka.Errorf(kafka.ErrInvalidRequest, "Unknown resource type %d", resource.Type)
}

func checkValueSize(value string) error {
	if len(value) > maxConfigValueBytes {
		return kafka.Errorf(kafka.ErrInvalidConfig,
			"The configuration value cannot be added because it exceeds the maximum value size of %d bytes.", maxConfigValueBytes)
	}
	return nil
}

// applyChange carries out one operation on values.
func applyChange(values map[string]string, resource kafka.ConfigResourceType, change configChange) error {
	switch change.op {
	case kmsg.IncrementalAlterConfigOpDelete:
		delete(values, change.name)
		return nil
	case kmsg.IncrementalAlterConfigOpSet:
		values[change.name] = *change.value
		return checkValueSize(*change.value)
	}
	appends := change.op == kmsg.IncrementalAlterConfigOpAppend
	var definition *config.Def
	known := false // of groups and client metrics subscriptions, Kafka too extends no lists
	switch resource {
	case kafka.ConfigResourceTopic:
		definition, known = config.TopicDef(change.name)
	case kafka.ConfigResourceBroker:
		definition, known = config.BrokerDef(change.name)
	}
	if !known || definition.Type != config.List {
		name := map[bool]string{true: "APPEND", false: "SUBTRACT"}[appends]
		return kafka.Errorf(kafka.ErrInvalidConfig, "Can't %s to key %s because its type is not LIST.", name, change.name)
	}
	value, isSet := values[change.name]
	if !isSet {
		value = definition.Default
	}
	items := slices.DeleteFunc(strings.Split(value, ","), func(item string) bool { return item == "" })
	for item := range strings.SplitSeq(*change.value, ",") {
		at := slices.Index(items, item)
		switch {
		case appends && at < 0:
			items = append(items, item)
		case !appends && at >= 0:
			items = slices.Delete(items, at, at+1)
		}
	}
	values[change.name] = strings.Join(items, ",")
	return checkValueSize(values[change.name])
}

// configRecords returns what turns current into proposed: first what the request names, in its
// order, then what it removes silently. A broker's configs are written even if they stay the same,
// which makes it load files that they name again.
func configRecords(resource kafka.ConfigResource, current, proposed map[string]string, changes []configChange) []metadata.Record {
	var records []metadata.Record
	named := make(map[string]bool, len(changes))
	put := func(name string) {
		old, wasSet := current[name]
		value, isSet := proposed[name]
		if wasSet == isSet && old == value && resource.Type != kafka.ConfigResourceBroker {
			return
		}
		r := &metadata.ConfigRecord{ResourceType: resource.Type, ResourceName: resource.Name, Name: name}
		if isSet {
			r.Value = &value
		}
		records = append(records, r)
	}
	for _, change := range changes {
		named[change.name] = true
		put(change.name)
	}
	for _, name := range slices.Sorted(maps.Keys(current)) {
		if _, isSet := proposed[name]; !isSet && !named[name] {
			put(name)
		}
	}
	return records
}
