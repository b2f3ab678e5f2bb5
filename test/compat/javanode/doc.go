// Package javanode runs programs on the Java clients that need a broker set up for them: one that
// adds and removes listeners, one whose metrics are pushed to the broker (KIP-714).
package javanode
