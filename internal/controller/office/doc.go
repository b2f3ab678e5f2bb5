// Package office is what the active controller works on while it holds its office (quorum.Leadership): the speculative image, to
// which each change is applied as soon as it is proposed, so that the next one rests on it before it is committed; and what is due by
// time. It is a core with one owner: controller/host, and the simulation of a cluster.
package office
