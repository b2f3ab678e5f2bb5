package handler

import (
	"context"
	"log/slog"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// DescribeConfigs answers the configs of topics, groups, client metrics subscriptions, this broker,
// the cluster's broker defaults and the broker's logger (API key 32).
type DescribeConfigs struct {
	NodeID     int32
	Image      func() *metadata.Image
	Authorizer security.Authorizer
	// Static is the node's own configuration.
	Static *config.Broker
	// LogLevel is the level of the broker's logger.
	LogLevel *slog.LevelVar
}

// Handle answers per resource; a resource type that nobody knows fails the whole request, as in
// Kafka.
func (h *DescribeConfigs) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	var whole error
	for i := range req.Resources {
		if _, known := configResources[kafka.ConfigResourceType(req.Resources[i].ResourceType)]; !known {
			whole = kafka.Errorf(kafka.ErrInvalidRequest, "unexpected resource type %d for resource %s", req.Resources[i].ResourceType, req.Resources[i].ResourceName)
		}
	}
	resources := mergeConfigResources(req.Resources)
	for i := range resources {
		resource := &resources[i]
		answer := kmsg.NewDescribeConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		entries, err := []config.Entry(nil), whole
		if err == nil {
			entries, err = h.describe(r, kafka.ConfigResource{Type: kafka.ConfigResourceType(resource.ResourceType), Name: resource.ResourceName})
		}
		answer.ErrorCode, answer.ErrorMessage = errorFields(err)
		if err == nil {
			answer.ErrorMessage = &noMessage
		}
		for _, e := range entries {
			if len(resource.ConfigNames) == 0 || slices.Contains(resource.ConfigNames, e.Name) {
				answer.Configs = append(answer.Configs, describedConfig(e, req))
			}
		}
		resp.Resources = append(resp.Resources, answer)
	}
	return Respond(resp)
}

// mergeConfigResources leaves each resource once, with all names that are asked for. A request of
// a few bytes per resource must not have the same hundreds of configs answered a million times.
func mergeConfigResources(resources []kmsg.DescribeConfigsRequestResource) []kmsg.DescribeConfigsRequestResource {
	places := make(map[kafka.ConfigResource]int, len(resources))
	merged := resources[:0]
	for _, r := range resources {
		key := kafka.ConfigResource{Type: kafka.ConfigResourceType(r.ResourceType), Name: r.ResourceName}
		place, again := places[key]
		if !again {
			places[key] = len(merged)
			merged = append(merged, r)
			continue
		}
		if first := &merged[place]; len(first.ConfigNames) > 0 && len(r.ConfigNames) > 0 {
			first.ConfigNames = append(first.ConfigNames, r.ConfigNames...)
		} else {
			first.ConfigNames = nil // one of the two asks for all
		}
	}
	return merged
}

// configResources says who may describe and alter the configs of a resource type, and what is
// answered to others.
var configResources = map[kafka.ConfigResourceType]struct {
	resource func(name string) security.Resource
	denied   kafka.ErrorCode
}{
	kafka.ConfigResourceTopic:         {security.Topic, kafka.ErrTopicAuthorizationFailed},
	kafka.ConfigResourceBroker:        {clusterResource, kafka.ErrClusterAuthorizationFailed},
	kafka.ConfigResourceBrokerLogger:  {clusterResource, kafka.ErrClusterAuthorizationFailed},
	kafka.ConfigResourceClientMetrics: {clusterResource, kafka.ErrClusterAuthorizationFailed},
	kafka.ConfigResourceGroup:         {security.Group, kafka.ErrGroupAuthorizationFailed},
}

func clusterResource(string) security.Resource { return security.Cluster }

// authorizeConfigs returns the error for a client that may not do op on the configs of resource.
func authorizeConfigs(a security.Authorizer, r *Request, op security.Operation, resource kafka.ConfigResource) error {
	rule := configResources[resource.Type]
	if !security.Allowed(a, r.Conn, op, rule.resource(resource.Name)) {
		return rule.denied
	}
	return nil
}

func (h *DescribeConfigs) describe(r *Request, resource kafka.ConfigResource) ([]config.Entry, error) {
	if err := authorizeConfigs(h.Authorizer, r, security.OperationDescribeConfigs, resource); err != nil {
		return nil, err
	}
	image := h.Image()
	layers := config.Layers{
		Static:         h.Static,
		DynamicBroker:  image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker, Name: strconv.Itoa(int(h.NodeID))}),
		DynamicDefault: image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker}),
	}
	switch resource.Type {
	case kafka.ConfigResourceTopic:
		if err := kafka.ValidateTopicName(resource.Name); err != nil {
			return nil, err
		}
		topic := image.TopicByName(resource.Name)
		if topic == nil {
			return nil, kafka.ErrUnknownTopicOrPartition
		}
		return layers.DescribeTopic(image.Config(resource), len(topic.Partitions[0].Replicas)), nil
	case kafka.ConfigResourceBroker:
		if resource.Name == "" {
			return layers.DescribeBrokerDefaults(), nil
		}
		if err := checkNodeName(resource.Name, h.NodeID); err != nil {
			return nil, err
		}
		return layers.DescribeBroker(image.BrokerCount()), nil
	case kafka.ConfigResourceBrokerLogger:
		if resource.Name == "" {
			return nil, kafka.Errorf(kafka.ErrInvalidRequest, "the broker id must not be empty")
		}
		if err := checkNodeName(resource.Name, h.NodeID); err != nil {
			return nil, err
		}
		return []config.Entry{describeLogger(h.LogLevel.Level())}, nil
	}
	if resource.Name == "" {
		return nil, kafka.Errorf(kafka.ErrInvalidRequest, "the name of a group or of a client metrics subscription must not be empty")
	}
	// Any name has configs, whether there is such a group or not.
	if resource.Type == kafka.ConfigResourceGroup {
		return layers.DescribeGroup(image.Config(resource)), nil
	}
	return config.DescribeClientMetrics(image.Config(resource)), nil
}

// checkNodeName refuses the name of another broker: each describes itself only.
func checkNodeName(name string, nodeID int32) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return kafka.Errorf(kafka.ErrInvalidRequest, "a broker id must be an integer, but it is: %s", name)
	}
	// Only one spelling of the number is this broker: 01 and +1 would be described once more each.
	if int32(id) != nodeID || name != strconv.Itoa(int(nodeID)) {
		return kafka.Errorf(kafka.ErrInvalidRequest, "unexpected broker id: this is broker %d, but the request is about %s", nodeID, name)
	}
	return nil
}

func describedConfig(e config.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if req.IncludeDocumentation && e.Doc != "" {
		c.Documentation = &e.Doc
	}
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value, synonym.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
		}
	}
	return c
}
