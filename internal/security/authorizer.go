package security

// Operation is an ACL operation with Kafka's code.
type Operation int8

// The operations of Kafka's ACLs.
const (
	OperationRead            Operation = 3
	OperationWrite           Operation = 4
	OperationCreate          Operation = 5
	OperationDelete          Operation = 6
	OperationAlter           Operation = 7
	OperationDescribe        Operation = 8
	OperationClusterAction   Operation = 9
	OperationDescribeConfigs Operation = 10
	OperationAlterConfigs    Operation = 11
	OperationIdempotentWrite Operation = 12
	OperationCreateTokens    Operation = 13
	OperationDescribeTokens  Operation = 14
	OperationTwoPhaseCommit  Operation = 15
)

// ResourceType is the kind of a Resource with Kafka's code.
type ResourceType int8

// The resource types of Kafka's ACLs.
const (
	ResourceTopic           ResourceType = 2
	ResourceGroup           ResourceType = 3
	ResourceCluster         ResourceType = 4
	ResourceTransactionalID ResourceType = 5
	ResourceDelegationToken ResourceType = 6
	ResourceUser            ResourceType = 7
)

// Resource is one thing that operations are allowed on.
type Resource struct {
	Type ResourceType
	Name string
}

// Cluster is the one cluster resource.
var Cluster = Resource{Type: ResourceCluster, Name: "kafka-cluster"}

// Topic returns the resource of a topic.
func Topic(name string) Resource { return Resource{Type: ResourceTopic, Name: name} }

// Group returns the resource of a group.
func Group(id string) Resource { return Resource{Type: ResourceGroup, Name: id} }

// TransactionalID returns the resource of a transactional id.
func TransactionalID(id string) Resource { return Resource{Type: ResourceTransactionalID, Name: id} }

// Authorizer decides whether principal p, connected from host, may do op on r. It is called on
// every request from many goroutines and must not block.
type Authorizer interface {
	Authorize(p Principal, host string, op Operation, r Resource) bool
}

// AllowAll permits everything: a cluster without an authorizer configured.
type AllowAll struct{}

// Authorize returns true.
func (AllowAll) Authorize(Principal, string, Operation, Resource) bool { return true }

// Allowed asks a on behalf of the connection c.
func Allowed(a Authorizer, c *Connection, op Operation, r Resource) bool {
	return a.Authorize(c.Principal, c.Host, op, r)
}
