package controller

// Origin says on whose behalf a request is made: the client whose request a broker forwards, or
// the broker itself.
type Origin struct {
	// Principal is "Type:Name", such as "User:ANONYMOUS".
	Principal string
	ClientID  string
	// Host is the client's address without port.
	Host string
}
