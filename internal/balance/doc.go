// Package balance plans where replicas and leaders should be: a description of the cluster goes in, an
// ordered list of moves comes out, each with its reason. It moves nothing itself; controller/balancer
// carries plans out, and asks for a new one whenever it has room for more.
//
// It is a deterministic core without state. The goals, in their order: brokers that leave or are dead
// lose their replicas; disks above the limit lose some; brokers carry about the same. A later goal never
// undoes an earlier one. Racks are never used worse than before, no disk is filled above the limit, and
// every move of the last goal lowers one sum of squared loads by a minimum, so that plans end: what has been
// evened out is left alone until it is out of the tolerance again.
package balance
