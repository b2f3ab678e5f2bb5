// Package suspect decides whether a node whose connections have ended is dead. It is a core: its host,
// peer.Watch, tells it which connections have ended, sends the probes that it asks for and brings their
// outcomes. A process that dies resets its connections and listens no more; one that lives may lose
// connections, too, and then only its session decides.
package suspect
