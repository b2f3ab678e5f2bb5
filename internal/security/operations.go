package security

// supportedOperations lists what Kafka's ACLs know per resource type; Metadata, DescribeCluster
// and DescribeGroups answer which of them the client may do.
var supportedOperations = map[ResourceType][]Operation{
	ResourceTopic: {OperationRead, OperationWrite, OperationCreate, OperationDescribe, OperationDelete, OperationAlter, OperationDescribeConfigs, OperationAlterConfigs},
	ResourceGroup: {OperationRead, OperationDescribe, OperationDelete, OperationDescribeConfigs, OperationAlterConfigs},
	ResourceCluster: {OperationCreate, OperationClusterAction, OperationDescribeConfigs, OperationAlterConfigs, OperationIdempotentWrite,
		OperationAlter, OperationDescribe},
	ResourceTransactionalID: {OperationDescribe, OperationWrite, OperationTwoPhaseCommit},
	ResourceDelegationToken: {OperationDescribe},
	ResourceUser:            {OperationCreateTokens, OperationDescribeTokens},
}

// AuthorizedOperations returns the bit field of the operations that c may do on r: bit n stands
// for the operation with code n.
func AuthorizedOperations(a Authorizer, c *Connection, r Resource) int32 {
	var field int32
	for _, op := range supportedOperations[r.Type] {
		if Allowed(a, c, op, r) {
			field |= 1 << op
		}
	}
	return field
}
